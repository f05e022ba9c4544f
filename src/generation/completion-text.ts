/** @file The text of one completion, let out piece by piece. Text is held back while it may still change: part of a
 *  character, or the beginning of a stop string. */

import type { TextStream } from "../text/stream.ts";
import type { StopWatch } from "./stop-strings.ts";

export class CompletionText {
  readonly #stream: TextStream;
  readonly #watch: StopWatch;
  readonly #special: (id: number) => string;
  all = "";

  /** `special`: how a special token is spelled, nothing for any other; stop strings may hold some, which never come out. */
  constructor(stream: TextStream, watch: StopWatch, special: (id: number) => string = () => "") {
    this.#stream = stream;
    this.#watch = watch;
    this.#special = special;
  }
  get stopped(): boolean {
    return this.#watch.stopped;
  }
  push(id: number): string {
    return this.#out(this.#watch.push(this.#stream.push(id)) + this.#watch.pass(this.#special(id)));
  }
  /** What was held back; a character that never became whole is left out. */
  end(): string {
    const rest = this.#watch.push(this.#stream.flush().replace(/\uFFFD+$/u, ""));
    return this.#out(rest + this.#watch.flush());
  }
  #out(text: string): string {
    this.all += text;
    return text;
  }
}
