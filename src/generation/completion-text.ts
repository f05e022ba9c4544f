/** @file The text of one completion, returned piece by piece. Text that may still change is held back: a part of a
 *  character, or the beginning of a stop string. */

import type { TextStream } from "../text/stream.ts";
import type { StopWatch } from "./stop-strings.ts";

export class CompletionText {
  readonly #stream: TextStream;
  readonly #watch: StopWatch;
  readonly #special: (id: number) => string;
  all = "";

  /** `special`: the spelling of a special token, empty for other tokens. Stop strings may contain special tokens, which are never part of the text. */
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
  /** The text that was held back, without an incomplete character at its end. */
  end(): string {
    const rest = this.#watch.push(this.#stream.flush().replace(/\uFFFD+$/u, ""));
    return this.#out(rest + this.#watch.flush());
  }
  #out(text: string): string {
    this.all += text;
    return text;
  }
}
