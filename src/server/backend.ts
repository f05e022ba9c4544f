/** @file What answers requests: the line between HTTP and the engine. Everything that crosses it is plain data, so that the engine can
 *  run in a process of its own (process-backend.ts) or in the caller's (engine.ts). */

import type { GenerationOptions } from "../generation/options.ts";
import type { FinishReason } from "../generation/sequence.ts";
import type { Probe } from "../library/probe.ts";
import type { ChatMessage } from "../text/chat.ts";

export type ModelKind = "base" | "expert" | "pool";

/** A name that requests may give as their model. */
export interface ServedModel {
  readonly id: string;
  readonly kind: ModelKind;
  /** The base's name; absent for the base. */
  readonly parent?: string;
  /** Where it was loaded from, as whoever started the server wrote it. */
  readonly root: string;
  /** Seconds since 1970. */
  readonly created: number;
  /** Most tokens of prompt and answer; absent where there is no limit. */
  readonly contextLength?: number;
  /** Of a pool: its experts. */
  readonly experts?: readonly string[];
}

/** How a request wants its tokens routed. */
export interface Routing {
  /** A method's name, with options or without. */
  readonly method?: string | undefined;
  readonly topK?: number | undefined;
  readonly temperature?: number | undefined;
  /** Only these experts may serve. */
  readonly experts?: readonly string[] | undefined;
}

export interface Target {
  readonly model: string;
  readonly routing?: Routing | undefined;
}

export interface ChatPrompt {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly unknown[] | undefined;
  readonly templateVariables?: Readonly<Record<string, unknown>> | undefined;
  /** End with the words that open the assistant's turn. */
  readonly opensTurn: boolean;
  /** The last message is the beginning of the answer. */
  readonly continuesLast: boolean;
  /** A call of a tool must follow: its opening words are part of the prompt, and its form is a constraint. */
  readonly call?: { readonly name?: string | undefined } | undefined;
}

export type PromptInput = { readonly text: string } | { readonly ids: readonly number[] } | { readonly chat: ChatPrompt };

/** What an answer's text must be. */
export type TextForm = { readonly kind: "json" } | { readonly kind: "json-schema"; readonly schema: unknown };

export interface GenerationRequest extends Target {
  readonly prompts: readonly PromptInput[];
  /** With `maxNewTokens` absent, as many as the model's context has room for, and no more than `tokenLimit`. */
  readonly options: Omit<GenerationOptions, "routes">;
  readonly tokenLimit: number;
  readonly form?: TextForm | undefined;
  /** Whether to report which experts served each token. */
  readonly routes: boolean;
  /** Token ids that every answer begins with; what follows is generated. Not together with `form`. */
  readonly forced?: readonly number[] | undefined;
  /** The prompts come back, with their tokens' log-probabilities where `top` says how many alternatives. */
  readonly echo?: { readonly top?: number | undefined } | undefined;
  /** Special tokens are part of the text. */
  readonly showsSpecialTokens?: boolean | undefined;
  /** Whose request it is: clients take turns. */
  readonly client?: string | undefined;
}

/** How a template writes calls of tools; undefined where it knows none. */
export type ToolStyle = "hermes" | "llama3" | "mistral";

/** A token with its log-probability under the model's own logits. */
export interface ScoredToken {
  readonly id: number;
  readonly token: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
}
export interface TokenScore extends ScoredToken {
  /** The likeliest tokens, best first. */
  readonly top: readonly ScoredToken[];
}

/** Which experts served one token: by module, the best first. */
export interface TokenRoute {
  readonly experts: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
}
/** Routes of consecutive tokens: [tokens][modules][k]. */
export interface RouteTable {
  readonly modules: readonly string[];
  readonly tokens: readonly TokenRoute[];
}

export type GenerationEvent =
  | {
      readonly kind: "accepted";
      /** Of all prompts together. */
      readonly promptTokens: number;
      readonly toolStyle?: ToolStyle | undefined;
      /** Names of the experts in the order that routes count them. */
      readonly experts: readonly string[];
    }
  | {
      readonly kind: "prompt";
      /** Its number; it comes before the tokens that follow it. */
      readonly prompt: number;
      readonly score: PromptScore;
    }
  | {
      readonly kind: "token";
      /** prompt * n + completion. */
      readonly index: number;
      readonly id: number;
      /** Text that became certain with it. */
      readonly text: string;
      readonly score?: TokenScore;
      /** Of the token it was predicted from. */
      readonly route?: RouteTable;
    }
  | {
      readonly kind: "finished";
      readonly index: number;
      readonly reason: FinishReason;
      readonly completionTokens: number;
      readonly cachedTokens: number;
      readonly promptRoute?: RouteTable;
    };

export interface Stream extends AsyncIterable<GenerationEvent> {
  /** Ends it, whatever it is doing. */
  cancel(): void;
}

export interface ScoreRequest extends Target {
  readonly prompts: readonly PromptInput[];
  /** The log-probabilities are wanted, and those of so many alternatives; absent: the tokens and their text alone. */
  readonly top?: number | undefined;
}
/** The tokens of one prompt: the first has no score, since nothing stands before it. */
export interface PromptScore {
  readonly text: string;
  readonly tokens: readonly { readonly token: string; readonly score?: TokenScore }[];
}

export interface EmbeddingRequest extends Target {
  readonly prompts: readonly PromptInput[];
}
export interface Embeddings {
  readonly vectors: readonly Float32Array[];
  readonly promptTokens: number;
}

/** A prompt and its answer, to look into: how every expert was scored for their tokens. */
export interface InspectRequest extends Target {
  readonly prompt: PromptInput;
  readonly answer: readonly number[];
  /** The token whose scores are wanted one by one; none when absent. */
  readonly at?: { readonly part: "prompt" | "answer"; readonly token: number } | undefined;
}
/** Tokens that use the same modules. An answer's token has the scores of the token it is predicted from. */
export interface InspectedTokens {
  readonly modules: readonly string[];
  /** [tokens][modules]: entropy of the softmax over all candidates, from 0 (one expert) to 1 (all alike). */
  readonly entropy: readonly (readonly number[])[];
  /** [tokens][modules]: how much more of that softmax the best expert has than the second. */
  readonly margin: readonly (readonly number[])[];
  /** [modules][experts] of the token that was asked for; null for experts that are no candidates. */
  readonly scores?: readonly (readonly (number | null)[])[];
}
export interface Inspection {
  readonly experts: readonly string[];
  readonly promptTokens: readonly string[];
  readonly prompt: InspectedTokens;
  readonly answer: InspectedTokens;
}

/** A text, to ask which of the pool's experts knows it. */
export interface ProbeRequest {
  readonly text: string;
  /** What follows the text, and whose loss counts. */
  readonly answer?: string | undefined;
  /** The router whose shares are told, with its options. */
  readonly router?: string | undefined;
}

/** An expert of the pool, for people. */
export interface ExpertCard {
  readonly name: string;
  readonly kind: string;
  /** Of its tensors in memory. */
  readonly bytes: number;
  readonly parameters: number;
  /** Smallest and largest; absent for kinds without a rank. */
  readonly ranks?: readonly [number, number];
  readonly modules: readonly string[];
  readonly root: string;
  readonly sha256?: string;
  /** What it brings for routers besides its weights. */
  readonly brings: readonly ("gates" | "activations" | "embeddings")[];
  /** Its README.md; empty without one. */
  readonly card: string;
}
export interface PoolCards {
  readonly id: string;
  readonly method: string;
  readonly experts: readonly ExpertCard[];
  /** [experts][experts], -1 to 1; null where two experts have nothing to compare. */
  readonly similarity: readonly (readonly (number | null)[])[];
  /** What `similarity` compares. */
  readonly comparedBy: "gates" | "updates" | "nothing";
}

export interface TokenizeRequest {
  readonly prompt: PromptInput;
  readonly addSpecialTokens: boolean;
}
export interface Tokenized {
  readonly tokens: readonly number[];
  readonly texts: readonly string[];
  readonly contextLength?: number;
}

/** What the tokenizer's files say of it. */
export type TokenizerInfo = Readonly<Record<string, unknown>>;

export interface BackendStats {
  readonly running: number;
  readonly waiting: number;
  readonly cacheBytes: number;
  readonly keptBytes: number;
  readonly steps: number;
  readonly preemptions: number;
  readonly sessions: number;
  /** Memory of the process that the engine runs in. */
  readonly residentBytes: number;
  readonly experts: number;
}

export interface NewExpert {
  readonly name: string;
  readonly path: string;
  /** Whether it joins the pool; alone under its name when not. */
  readonly joinsPool: boolean;
}

export interface Backend {
  /** Settles when it answers requests. */
  readonly ready: Promise<void>;
  /** Whether it answers now. */
  readonly isReady: boolean;
  models(): Promise<readonly ServedModel[]>;
  submit(request: GenerationRequest): Stream;
  score(request: ScoreRequest): Promise<readonly PromptScore[]>;
  embed(request: EmbeddingRequest): Promise<Embeddings>;
  inspect(request: InspectRequest): Promise<Inspection>;
  probe(request: ProbeRequest): Promise<Probe>;
  /** Undefined without a pool. */
  poolCards(): Promise<PoolCards | undefined>;
  tokenize(request: TokenizeRequest): Promise<Tokenized>;
  detokenize(ids: readonly number[]): Promise<string>;
  tokenizerInfo(): Promise<TokenizerInfo>;
  addExpert(expert: NewExpert): Promise<void>;
  removeExpert(name: string): Promise<void>;
  stats(): Promise<BackendStats>;
  close(): Promise<void>;
}
