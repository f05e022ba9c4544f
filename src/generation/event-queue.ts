/** @file Events between one who never waits and one who may: a queue with an end. */

import { throwIfStopped } from "../base/stopped.ts";

export class EventQueue<T> {
  readonly #events: T[] = [];
  #isOver = false;
  #error: unknown;
  #wake = () => {};

  push(event: T): void {
    this.#events.push(event);
    this.#wake();
  }
  /** No more events come; with an error, whoever reads gets it behind those that came. */
  end(error?: unknown): void {
    this.#isOver = true;
    this.#error = error;
    this.#wake();
  }

  /** The events as they come. When the signal is aborted, a StoppedError is thrown in place of those not yet read. */
  async *read(signal?: AbortSignal): AsyncGenerator<T> {
    for (let at = 0; ; ) {
      throwIfStopped(signal, "generation");
      if (at < this.#events.length) yield this.#events[at++]!;
      else if (this.#error !== undefined) throw this.#error;
      else if (this.#isOver) return;
      else {
        this.#events.length = at = 0;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
