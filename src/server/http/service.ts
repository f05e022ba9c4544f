/** @file What all routes share: the backend, limits, the log, the counters; and one call of the backend from its admission to its end. */

import type { Backend, GenerationEvent, GenerationRequest } from "../backend.ts";
import { Cancelled, RequestProblem } from "../problem.ts";
import type { Metrics } from "./metrics.ts";

export interface RequestLimits {
  /** Most completions that run or wait at once; further requests are told to come back. */
  readonly queue: number;
  /** Most tokens of one completion. */
  readonly maxTokens: number;
  /** Milliseconds that one request may take. */
  readonly timeout: number;
  /** Most bytes of a request's body. */
  readonly bodyBytes: number;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Service {
  readonly backend: Backend;
  readonly limits: RequestLimits;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly load: Load;
}

/** Who asks: known from the key, else from nothing. */
export interface Caller {
  readonly id: string;
  readonly client: string | undefined;
  readonly signal: AbortSignal;
}

/** How many completions are under way. */
export class Load {
  #running = 0;
  #isClosing = false;
  #whenIdle = () => {};
  readonly #most: number;
  constructor(most: number) {
    this.#most = most;
  }
  get running(): number {
    return this.#running;
  }

  /** Takes so many places; call what it returns to give them back. */
  take(count: number): () => void {
    if (this.#isClosing)
      throw new RequestProblem({ status: 503, message: "The server is shutting down.", code: "shutting_down", retryAfter: 5 });
    if (count > this.#most) {
      throw new RequestProblem({
        status: 400,
        message: `One request may ask for ${this.#most} completions.`,
        param: "n",
        code: "invalid_value",
      });
    }
    if (this.#running + count > this.#most) {
      const message = "The server has as many requests as it takes. Come back later.";
      throw new RequestProblem({ status: 429, message, code: "rate_limit_exceeded", retryAfter: 2 });
    }
    this.#running += count;
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#running -= count;
      if (this.#running === 0) this.#whenIdle();
    };
  }

  /** Takes nothing more. Settles when nothing runs. */
  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
  }
}

export type Accepted = Extract<GenerationEvent, { kind: "accepted" }>;
export type LaterEvent = Exclude<GenerationEvent, Accepted>;

export interface Call {
  readonly accepted: Accepted;
  readonly events: AsyncIterable<LaterEvent>;
  cancel(): void;
}

/** Submits a request and waits until it is accepted, so that what is wrong with it has a status of its own. */
export async function begin(service: Service, caller: Caller, request: GenerationRequest): Promise<Call> {
  const { backend, limits, metrics, load } = service;
  const count = request.prompts.length * (request.options.n ?? 1);
  const giveBack = load.take(count);
  const start = performance.now();
  let isLate = false;
  let cancel = () => {};
  const timer = setTimeout(() => {
    isLate = true;
    cancel();
  }, limits.timeout);
  const end = () => {
    clearTimeout(timer);
    caller.signal.removeEventListener("abort", cancel);
    giveBack();
  };
  try {
    const stream = backend.submit({ ...request, ...(caller.client !== undefined && { client: caller.client }) });
    cancel = () => {
      stream.cancel();
      end();
    };
    if (caller.signal.aborted) throw new Cancelled();
    caller.signal.addEventListener("abort", cancel, { once: true });
    const source = stream[Symbol.asyncIterator]();
    const first = await source.next();
    if (first.done || first.value.kind !== "accepted") throw new Error("the backend began with something else");
    const accepted = first.value;
    metrics.accepted(request.model, accepted.promptTokens);
    return { accepted, events: counted(source), cancel: () => cancel() };
  } catch (error) {
    end();
    throw isLate ? late(limits.timeout) : error;
  }

  async function* counted(source: AsyncIterator<GenerationEvent>): AsyncGenerator<LaterEvent> {
    let last = start;
    let tokens = 0;
    let isDone = false;
    try {
      for (;;) {
        const { value, done } = await source.next();
        if (done) break;
        if (value.kind === "accepted") continue;
        if (value.kind === "token") {
          const now = performance.now();
          metrics.token(request.model, tokens++ === 0, (now - last) / 1000);
          last = now;
        } else if (value.kind === "finished") metrics.finished(request.model, value.reason, (performance.now() - start) / 1000);
        yield value;
      }
      isDone = true;
    } catch (error) {
      throw isLate ? late(limits.timeout) : error;
    } finally {
      if (!isDone) cancel();
      end();
    }
  }
}

function late(timeout: number): RequestProblem {
  const message = `The request took longer than the ${Math.round(timeout / 1000)} seconds that this server gives one.`;
  return new RequestProblem({ status: 504, message, code: "timeout" });
}
