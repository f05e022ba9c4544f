/** @file Jobs for the scheduler: prompts of one model with their sequences, and a sink for the results. */

import type { Model } from "../inference/model.ts";
import type { Feeds } from "../runtime/session.ts";
import type { PromptResult, PromptWork } from "./prompt-reading.ts";
import type { Sequence, TakenToken } from "./sequence.ts";

export interface Job {
  readonly model: Model;
  readonly prompts: readonly (readonly number[])[];
  /** In the order of the prompts, with the same number for each prompt. */
  readonly sequences: readonly Sequence[];
  /** Tokens that end a sequence. */
  readonly ends: ReadonlySet<number>;
  /** Whether sequences record the routes of their tokens. */
  readonly routes?: boolean;
  /** Ends a sequence if it returns true for the tokens so far. */
  readonly until?: ((ids: readonly number[], prompt: number) => boolean) | undefined;
  /** The most sequences that run in parallel; without it, as many as there is room for. */
  readonly rowsAtOnce?: number;
  /** Whether the caches are kept for later jobs. Default true. */
  readonly keeps?: boolean;
  /** What is computed from each prompt while it is read. Only where prompts are read in chunks (`readsInChunks`). */
  readonly work?: PromptWork | undefined;
  /** Prompts are only read: no sequence gets a token. */
  readonly onlyReads?: boolean;
  /** The jobs of one client share its turn. Without a client, a job has its own turn. */
  readonly client?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Receives the results between two steps. Its functions must return immediately. */
export interface Sink {
  /** A token. When it is the last one, the sequence has a finishReason. */
  token(token: TakenToken): void;
  /** A prompt's result, before its first token. */
  prompt?(prompt: number, result: PromptResult): void;
  /** All sequences have finished, or the job has failed with this error. */
  end(error?: unknown): void;
}

/** Sequences that wait to continue the same tokens. */
export interface Entry {
  readonly prompt: readonly number[];
  readonly sequences: Sequence[];
  readonly rowFeeds: Feeds;
  /** The tokens already generated, for a sequence that was removed to make room. */
  readonly generated: readonly number[];
  /** What is still to be computed from the prompt. */
  work: PromptWork | undefined;
  /** Whether the number of cached prompt tokens is recorded in its sequences. */
  isCounted: boolean;
}

/** A job that runs. */
export class RunningJob {
  readonly job: Job;
  /** Its number in the order of all jobs. */
  readonly arrival: number;
  readonly waiting: Entry[] = [];
  /** Sequences that have a place in a decoder, or will get one. */
  rows = 0;
  readonly #sink: Sink;
  #left: number;
  #isOver = false;
  readonly #told = new Set<number>();
  #afterwards = () => {};

  constructor(job: Job, sink: Sink, arrival: number) {
    this.job = job;
    this.arrival = arrival;
    this.#sink = sink;
    this.#left = job.sequences.length;
  }

  get isOver(): boolean {
    return this.#isOver;
  }
  /** Jobs with equal keys belong to one group. */
  get group(): string {
    const { batch } = this.job.model.woven;
    return this.hasRoutes ? `${batch} with routes` : batch;
  }
  /** Whether its sequences record routes. Rows that have their choice from elsewhere have none of their own. */
  get hasRoutes(): boolean {
    const { model, routes = false } = this.job;
    return routes && model.woven.alone === undefined;
  }

  /** Reports a token. After the last token of all sequences the job ends. */
  tell(token: TakenToken): void {
    if (this.#isOver) return;
    if (token.sequence.finishReason) this.#left--;
    this.#sink.token(token);
    if (this.#left === 0) this.end();
  }
  /** Reports the result of the prompt of these sequences, which end with it if the job only reads. */
  tellPrompt(sequences: readonly Sequence[], result: PromptResult): void {
    const { prompt } = sequences[0]!;
    if (this.#isOver || this.#told.has(prompt)) return; // sequences of one prompt may be admitted apart
    this.#told.add(prompt);
    this.#sink.prompt?.(prompt, result);
    if (!this.job.onlyReads) return;
    this.#left -= sequences.length;
    if (this.#left === 0) this.end();
  }
  /** Ends the job, with an error if it failed. */
  end(error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.waiting.length = 0;
    this.#afterwards();
    this.#sink.end(error);
  }
  /** Calls the function when the job has ended. */
  whenOver(call: () => void): void {
    this.#afterwards = call;
  }
}

/** Whether a model reads prompts in chunks whose numbers do not depend on the chunks. Others read them whole. */
export function readsInChunks({ base, woven }: Model): boolean {
  return base.architecture.kind === "decoder-only" && !woven.readsWholeRows;
}
