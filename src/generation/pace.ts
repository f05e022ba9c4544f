/** @file How many tokens of a prompt to read between two steps of the running sequences: as many as take the time of one or
 *  two steps, so that no sequence waits longer than three steps for its next token. */

const [LEAST, MOST] = [16, 256];
const MEMORY = 0.8; // the share of earlier steps in the average: the time of a step jumps, and the pace should not

export class Pace {
  #step = 0;
  #tokens = LEAST;

  /** The number of tokens to read next. */
  get tokens(): number {
    return this.#tokens;
  }
  /** Records the milliseconds that one step of all running sequences took. */
  stepped(ms: number): void {
    this.#step = this.#step === 0 ? ms : MEMORY * this.#step + (1 - MEMORY) * ms;
  }
  /** Records the milliseconds that reading this many tokens of a prompt took. */
  read(tokens: number, ms: number): void {
    if (tokens * 2 < this.#tokens) return; // too few for an estimate
    if (ms > 2 * this.#step) this.#tokens = Math.max(LEAST, this.#tokens / 2);
    else if (ms < this.#step) this.#tokens = Math.min(MOST, this.#tokens * 2);
  }
}
