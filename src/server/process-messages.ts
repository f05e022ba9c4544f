/** @file What the server's process and the engine's say to each other. Calls are numbered; answers carry their call's number. */

import type { Backend, GenerationEvent, GenerationRequest } from "./backend.ts";
import type { EngineOptions } from "./open-engine.ts";
import type { ProblemData, Thrown } from "./problem.ts";

/** The calls with one answer. */
export type PlainCall =
  | "models"
  | "score"
  | "embed"
  | "inspect"
  | "probe"
  | "poolCards"
  | "tokenize"
  | "detokenize"
  | "tokenizerInfo"
  | "addExpert"
  | "removeExpert"
  | "stats";

export type ToEngine =
  | { readonly kind: "open"; readonly options: EngineOptions }
  | { readonly kind: "submit"; readonly id: number; readonly request: GenerationRequest }
  | { readonly kind: "cancel"; readonly id: number }
  | { readonly kind: "call"; readonly id: number; readonly name: PlainCall; readonly argument: unknown }
  | { readonly kind: "close" };

/** An error as data; `bug` is for the log. */
export interface ErrorData {
  readonly problem: ProblemData;
  readonly isCancelled: boolean;
  readonly bug?: string | undefined;
}

export type FromEngine =
  | { readonly kind: "ready" }
  | { readonly kind: "unable"; readonly error: Thrown }
  | { readonly kind: "warning"; readonly text: string }
  | { readonly kind: "event"; readonly id: number; readonly event: GenerationEvent }
  | { readonly kind: "end"; readonly id: number; readonly error?: ErrorData }
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number; readonly error: ErrorData };

export type Answer<N extends PlainCall> = Awaited<ReturnType<Backend[N]>>;
