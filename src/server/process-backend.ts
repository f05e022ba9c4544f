/** @file The backend in a process of its own. When that process ends by itself, requests in flight are told so, and another one takes its
 *  place; adapters that were loaded at run time are loaded again.
 *
 *  It is a process and no thread, since a thread that ends while ONNX Runtime computes in it takes the whole process down. */

import { type ChildProcess, fork } from "node:child_process";
import { EventQueue } from "../generation/event-queue.ts";
import type * as b from "./backend.ts";
import type { EngineOptions } from "./open-engine.ts";
import { Cancelled, RequestProblem, thrownError } from "./problem.ts";
import type { Answer, ErrorData, FromEngine, PlainCall, ToEngine } from "./process-messages.ts";

export interface ProcessOptions {
  /** The file of the process; ours when absent. */
  readonly file?: URL | undefined;
  readonly onWarning?: (warning: string) => void;
  readonly onBug?: (details: string) => void;
}

interface Pending {
  settle(value: unknown): void;
  fail(error: unknown): void;
}

const RESTART = { first: 200, most: 30_000 }; // milliseconds
const CLOSE = 10_000;

export class ProcessBackend implements b.Backend {
  /** Settles with the first process; rejects when it cannot open the engine. */
  readonly ready: Promise<void>;
  readonly #options: EngineOptions;
  readonly #file: URL;
  readonly #warn: (warning: string) => void;
  readonly #bug: (details: string) => void;
  readonly #streams = new Map<number, EventQueue<b.GenerationEvent>>();
  readonly #calls = new Map<number, Pending>();
  readonly #added = new Map<string, b.NewExpert>();
  #child: ChildProcess | undefined;
  #isReady = false;
  #hasOpened = false;
  #isClosing = false;
  #number = 0;
  #wait = RESTART.first;

  constructor(options: EngineOptions, { file, onWarning = () => {}, onBug = onWarning }: ProcessOptions = {}) {
    this.#options = options;
    this.#file = file ?? new URL("./engine-process.js", import.meta.url);
    this.#warn = onWarning;
    this.#bug = onBug;
    this.ready = this.#start(true);
    this.ready.catch(() => {}); // whoever waits for it is told
  }

  get isReady(): boolean {
    return this.#isReady;
  }
  /** The engine's process, while there is one. */
  get child(): ChildProcess | undefined {
    return this.#child;
  }

  #start(isFirst: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      // What the engine prints goes where the log goes.
      const child = fork(this.#file, { serialization: "advanced", execArgv: [], stdio: ["ignore", 2, 2, "ipc"] });
      this.#child = child;
      child.on("message", (messages) => {
        for (const message of messages as unknown as readonly FromEngine[]) {
          if (message.kind === "ready") void this.#opened().then(resolve, reject);
          else if (message.kind === "unable") {
            child.kill("SIGKILL");
            reject(thrownError(message.error));
          } else this.#take(message);
        }
      });
      child.on("error", (error) => this.#bug(`The engine's process failed. ${error.stack ?? error.message}`));
      child.on("exit", (code, signal) => {
        if (isFirst && !this.#hasOpened) this.#isClosing = true; // what never began is not begun again
        if (this.#child === child) this.#ended(signal ?? `code ${code}`);
        reject(lost());
      });
      child.send({ kind: "open", options: this.#options } satisfies ToEngine);
    });
  }

  async #opened(): Promise<void> {
    for (const expert of this.#added.values()) {
      await this.#call("addExpert", expert).catch((error: unknown) => {
        this.#added.delete(expert.name);
        this.#warn(`Adapter "${expert.name}" could not be loaded again: ${String(error)}`);
      });
    }
    this.#isReady = true;
    this.#hasOpened = true;
    this.#wait = RESTART.first;
  }

  /** Tells everybody, and begins anew. */
  #ended(how: string): void {
    this.#isReady = false;
    this.#child = undefined;
    for (const events of this.#streams.values()) events.end(lost());
    for (const call of this.#calls.values()) call.fail(lost());
    this.#streams.clear();
    this.#calls.clear();
    if (this.#isClosing) return;
    this.#bug(`The engine's process ended with ${how}; another one starts.`);
    const wait = this.#wait;
    this.#wait = Math.min(2 * wait, RESTART.most);
    setTimeout(() => {
      if (!this.#isClosing) this.#start(false).catch(() => {}); // its end starts the next one
    }, wait);
  }

  #take(message: Exclude<FromEngine, { kind: "ready" | "unable" }>): void {
    if (message.kind === "warning") this.#warn(message.text);
    else if (message.kind === "event") this.#streams.get(message.id)?.push(message.event);
    else if (message.kind === "end") {
      this.#streams.get(message.id)?.end(message.error && this.#errorOf(message.error));
      this.#streams.delete(message.id);
    } else {
      const call = this.#calls.get(message.id);
      this.#calls.delete(message.id);
      if (message.kind === "result") call?.settle(message.value);
      else call?.fail(this.#errorOf(message.error));
    }
  }
  #errorOf({ problem, isCancelled, bug }: ErrorData): Error {
    if (bug !== undefined) this.#bug(bug);
    return isCancelled ? new Cancelled() : new RequestProblem(problem);
  }

  #say(message: ToEngine): void {
    if (this.#child?.connected) this.#child.send(message);
  }

  submit(request: b.GenerationRequest): b.Stream {
    const id = ++this.#number;
    const events = new EventQueue<b.GenerationEvent>();
    const isStarted = this.#isReady;
    if (isStarted) {
      this.#streams.set(id, events);
      this.#say({ kind: "submit", id, request });
    } else events.end(lost());
    return {
      [Symbol.asyncIterator]: () => events.read(),
      cancel: () => {
        if (!this.#streams.delete(id)) return;
        events.end(new Cancelled());
        this.#say({ kind: "cancel", id });
      },
    };
  }

  #call<N extends PlainCall>(name: N, argument?: unknown): Promise<Answer<N>> {
    if (!this.#child?.connected) return Promise.reject(lost());
    const id = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { settle: resolve as (value: unknown) => void, fail: reject });
      this.#say({ kind: "call", id, name, argument });
    });
  }
  #whenReady<N extends PlainCall>(name: N, argument?: unknown): Promise<Answer<N>> {
    return this.#isReady ? this.#call(name, argument) : Promise.reject(lost());
  }

  models() {
    return this.#whenReady("models");
  }
  score(request: b.ScoreRequest) {
    return this.#whenReady("score", request);
  }
  embed(request: b.EmbeddingRequest) {
    return this.#whenReady("embed", request);
  }
  inspect(request: b.InspectRequest) {
    return this.#whenReady("inspect", request);
  }
  probe(request: b.ProbeRequest) {
    return this.#whenReady("probe", request);
  }
  poolCards() {
    return this.#whenReady("poolCards");
  }
  tokenize(request: b.TokenizeRequest) {
    return this.#whenReady("tokenize", request);
  }
  detokenize(ids: readonly number[]) {
    return this.#whenReady("detokenize", ids);
  }
  tokenizerInfo() {
    return this.#whenReady("tokenizerInfo");
  }
  stats() {
    return this.#whenReady("stats");
  }
  async addExpert(expert: b.NewExpert): Promise<void> {
    await this.#whenReady("addExpert", expert);
    this.#added.set(expert.name, expert);
  }
  async removeExpert(name: string): Promise<void> {
    await this.#whenReady("removeExpert", name);
    this.#added.delete(name);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    this.#say({ kind: "close" });
    const timer = setTimeout(() => child.kill("SIGKILL"), CLOSE);
    await ended;
    clearTimeout(timer);
  }
}

function lost(): RequestProblem {
  const message = "The engine had to start again, and this request was lost. Send it once more.";
  return new RequestProblem({ status: 503, message, code: "engine_restarted", retryAfter: 1 });
}
