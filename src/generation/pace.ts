/** @file How many tokens of a prompt to read between two steps of the sequences that run: as many as take the time of one or
 *  two steps, so that nobody's next token comes later than after three. */

const [LEAST, MOST] = [16, 256];
const MEMORY = 0.8; // of earlier steps; a step's time jumps, and the pace should not

export class Pace {
  #step = 0;
  #tokens = LEAST;

  /** Tokens to read next. */
  get tokens(): number {
    return this.#tokens;
  }
  /** A step of all that run took so many milliseconds. */
  stepped(ms: number): void {
    this.#step = this.#step === 0 ? ms : MEMORY * this.#step + (1 - MEMORY) * ms;
  }
  /** So many tokens of a prompt were read in so many milliseconds. */
  read(tokens: number, ms: number): void {
    if (tokens * 2 < this.#tokens) return; // too few to judge by
    if (ms > 2 * this.#step) this.#tokens = Math.max(LEAST, this.#tokens / 2);
    else if (ms < this.#step) this.#tokens = Math.min(MOST, this.#tokens * 2);
  }
}
