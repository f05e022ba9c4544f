/** @file What callers hand to the scheduler: prompts of one model with their sequences, and a sink for what comes of them. */

import type { Model } from "../inference/model.ts";
import type { Feeds } from "../runtime/session.ts";
import type { Sequence, TakenToken } from "./sequence.ts";

export interface Job {
  readonly model: Model;
  readonly prompts: readonly (readonly number[])[];
  /** In the order of their prompts, the same number for each. */
  readonly sequences: readonly Sequence[];
  /** Tokens that end a sequence. */
  readonly ends: ReadonlySet<number>;
  /** Whether sequences say how their tokens were routed. */
  readonly routes?: boolean;
  /** Ends a sequence when it holds of the tokens so far. */
  readonly until?: ((ids: readonly number[], prompt: number) => boolean) | undefined;
  /** Most sequences that run side by side; as many as there is room for when absent. */
  readonly rowsAtOnce?: number;
  /** Whether what was read is kept for later jobs. Default true. */
  readonly keeps?: boolean;
  /** Jobs of one client share its turn; when absent, a job has its own. */
  readonly client?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Called as soon as there is something to say, between two steps: it returns at once. */
export interface Sink {
  /** A token; the last one of its sequence has given it a finishReason. */
  token(token: TakenToken): void;
  /** All sequences are done, or none goes on for this reason. */
  end(error?: unknown): void;
}

/** Sequences that wait to go on from the same tokens. */
export interface Entry {
  readonly prompt: readonly number[];
  readonly sequences: Sequence[];
  readonly rowFeeds: Feeds;
  /** Tokens generated already, by a sequence that had to make room. */
  readonly generated: readonly number[];
  /** Whether its sequences know how much of their prompt was in the cache. */
  isCounted: boolean;
}

/** A job while it runs. */
export class RunningJob {
  readonly job: Job;
  /** Its place among all jobs. */
  readonly arrival: number;
  readonly waiting: Entry[] = [];
  /** Sequences that stand in a decoder, or are promised a place there. */
  rows = 0;
  readonly #sink: Sink;
  #left: number;
  #isOver = false;
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
  /** Jobs of equal keys stand in one group. */
  get group(): string {
    const { model, routes } = this.job;
    return routes ? `${model.woven.batch} with routes` : model.woven.batch;
  }

  /** Tells a token; after the last one of all sequences the job is over. */
  tell(token: TakenToken): void {
    if (this.#isOver) return;
    if (token.sequence.finishReason) this.#left--;
    this.#sink.token(token);
    if (this.#left === 0) this.end();
  }
  /** Ends the job; with an error, for this reason. */
  end(error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.waiting.length = 0;
    this.#afterwards();
    this.#sink.end(error);
  }
  /** Calls once the job is over. */
  whenOver(call: () => void): void {
    this.#afterwards = call;
  }
}
