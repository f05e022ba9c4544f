/** @file Tokens that an answer must begin with: each step allows the next of them alone, then everything. With an encoder this is the only way
 *  to go on from a given beginning; without one it gives each of these tokens its route and its log-probability too. */

import type { Constraint } from "../generation/sampler.ts";

export class ForcedTokens implements Constraint {
  readonly #ids: readonly number[];
  #at = 0;
  constructor(ids: readonly number[]) {
    this.#ids = ids;
  }

  /** Never: an answer goes on behind these tokens. */
  readonly isDone = false;

  restrict(logits: Float32Array): void {
    const id = this.#ids[this.#at];
    if (id === undefined) return;
    const own = logits[id]!;
    logits.fill(Number.NEGATIVE_INFINITY);
    logits[id] = Number.isFinite(own) ? own : 0; // a bias or another mask may have barred it
  }

  take(): void {
    this.#at++;
  }

  dispose(): void {}
}

/** One for each of so many sequences; none where nothing is forced. */
export function forcedTokens(ids: readonly number[], count: number): ForcedTokens[] {
  return ids.length === 0 ? [] : Array.from({ length: count }, () => new ForcedTokens(ids));
}
