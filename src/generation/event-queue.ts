/** @file A queue of events with an end. The writer never waits; the reader may. */

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
  /** Ends the queue. With an error, the reader gets the error after the queued events. */
  end(error?: unknown): void {
    this.#isOver = true;
    this.#error = error;
    this.#wake();
  }

  /** The events in order. If the signal is aborted, a StoppedError replaces the events that are not read yet. */
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
