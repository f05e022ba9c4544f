/** @file All that the page asks of whoever computes: a server today (http-backend.ts), a model inside the page perhaps tomorrow. */

import type { Chart } from "../../src/evaluation/comparison/chart.ts";
import type { Probe } from "../../src/library/probe.ts";
import type { DescribedMethod } from "../../src/methods/describe.ts";
import type {
  InspectedTokens,
  Inspection,
  PoolCards,
  ProbeRequest,
  RouteTable,
  Routing,
  ScoredToken,
  ServedModel,
} from "../../src/server/backend.ts";

export type {
  Chart,
  DescribedMethod,
  InspectedTokens,
  Inspection,
  PoolCards,
  Probe,
  ProbeRequest,
  RouteTable,
  Routing,
  ScoredToken,
  ServedModel,
};

export interface World {
  readonly version: string;
  readonly models: readonly ServedModel[];
  readonly methods: readonly DescribedMethod[];
  /** Whether the model has a chat template. */
  readonly chats: boolean;
  readonly maxTokens: number;
  readonly has: { readonly results: boolean; readonly curves: boolean };
  readonly examples: readonly { readonly name: string; readonly prompt: string }[];
}

export type Prompt = { readonly text: string } | { readonly messages: readonly { readonly role: "user"; readonly content: string }[] };

export interface GenerateRequest {
  readonly model: string;
  readonly routing?: Routing | undefined;
  readonly prompt: Prompt;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed?: number | undefined;
  /** The answer begins with these tokens. */
  readonly forced?: readonly number[] | undefined;
  readonly top: number;
}

export interface TokenEvent {
  readonly kind: "token";
  readonly id: number;
  /** Text that became certain with it; several tokens may make one character. */
  readonly text: string;
  readonly token?: string;
  readonly logprob?: number;
  readonly top?: readonly ScoredToken[];
  /** With the first routed token. */
  readonly modules?: readonly string[];
  /** [modules][k] */
  readonly experts?: readonly (readonly number[])[];
  readonly weights?: readonly (readonly number[])[];
}
export type GenerateEvent =
  | { readonly kind: "accepted"; readonly experts: readonly string[]; readonly promptTokens: number }
  | TokenEvent
  | {
      readonly kind: "finished";
      readonly reason: "stop" | "length";
      readonly completionTokens: number;
      readonly cachedTokens: number;
      readonly promptRoute?: RouteTable;
    };

export interface InspectRequest {
  readonly model: string;
  readonly routing?: Routing | undefined;
  readonly prompt: Prompt;
  readonly answer: readonly number[];
  readonly at?: { readonly part: "prompt" | "answer"; readonly token: number } | undefined;
}

export type Pool = PoolCards & { readonly curves: readonly Chart[] };

export interface MethodResult {
  readonly name: string;
  readonly kind?: string;
  readonly means?: readonly { readonly group?: string; readonly value: number; readonly stderr: number }[];
  readonly tasks: Readonly<Record<string, { readonly score?: { readonly value: number; readonly stderr: number } }>>;
}
export interface Results {
  readonly date?: string;
  readonly experts?: readonly string[];
  readonly tasks: readonly { readonly name: string; readonly group?: string; readonly examples?: number }[];
  readonly methods: readonly MethodResult[];
}
export interface SamplesRequest {
  readonly task: string;
  readonly methods: readonly string[];
  readonly from: number;
  readonly count: number;
}
export interface Sample {
  readonly id: number;
  readonly input: string;
  readonly target: string;
  readonly answers: Readonly<Record<string, { readonly text: string; readonly score: number | null }>>;
}
export interface SamplePage {
  readonly total: number;
  readonly items: readonly Sample[];
}

export interface Backend {
  world(): Promise<World>;
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
  inspect(request: InspectRequest, signal?: AbortSignal): Promise<Inspection>;
  probe(request: ProbeRequest): Promise<Probe>;
  pool(): Promise<Pool>;
  results(): Promise<Results>;
  samples(request: SamplesRequest): Promise<SamplePage>;
}

/** Something went wrong; the message is a sentence with what to do. */
export class BackendError extends Error {
  readonly status: number;
  readonly code: string | undefined;
  constructor(message: string, { status = 0, code }: { status?: number; code?: string | undefined } = {}) {
    super(message);
    this.name = "BackendError";
    this.status = status;
    this.code = code;
  }
}
