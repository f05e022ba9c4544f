/** @file Keeps the caches of sequences that have ended. The next turn of a chat, and prompts that begin with the same tokens,
 *  then read their new tokens only. The least recently used are removed first. */

import type { Feeds } from "../runtime/session.ts";
import type { KnownTokens } from "./decoder.ts";
import { sameFeeds } from "./feeds.ts";
import { sharedLength } from "./slot.ts";

/** Rows with equal graphs and feeds may use each other's caches. */
export interface KeptAs {
  readonly batch: string;
  readonly rowFeeds: Feeds;
}

export interface KeptRow extends KnownTokens, KeptAs {
  readonly tokens: readonly number[];
  readonly bytes: number;
}

const MOST_ROWS = 256;

export class KeptRows {
  readonly #limit: number;
  /** The most recently used is last. */
  #rows: KeptRow[] = [];

  /** Keeps at most this many bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#rows.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The row that shares the most first tokens with these, and how many. `routes`: only rows that hold the routes too. */
  find({ batch, rowFeeds }: KeptAs, tokens: readonly number[], routes: boolean): KnownTokens | undefined {
    let best: { kept: KeptRow; length: number } | undefined;
    for (const kept of this.#rows) {
      if (kept.batch !== batch || (routes && kept.routed.length === 0) || !sameFeeds(kept.rowFeeds, rowFeeds)) continue;
      const length = sharedLength(kept.tokens, tokens);
      if (length > (best?.length ?? 0)) best = { kept, length };
    }
    if (!best) return undefined;
    const { kept, length } = best;
    this.#rows = [...this.#rows.filter((other) => other !== kept), kept];
    return { row: kept.row, length, routed: kept.routed };
  }

  /** Keeps a row. It replaces the rows that it continues. A row that is not kept any more is disposed of. */
  add(row: KeptRow): void {
    const isPart = (part: KeptRow, whole: KeptRow) =>
      part.batch === whole.batch &&
      part.tokens.length <= whole.tokens.length &&
      (part.routed.length === 0 || whole.routed.length > 0) &&
      sharedLength(part.tokens, whole.tokens) === part.tokens.length &&
      sameFeeds(part.rowFeeds, whole.rowFeeds);
    if (row.bytes > this.#limit || this.#rows.some((other) => isPart(row, other))) {
      dispose(row);
      return;
    }
    this.#rows.filter((other) => isPart(other, row)).forEach(dispose);
    this.#rows = [...this.#rows.filter((other) => !isPart(other, row)), row];
    for (let over = this.bytes - this.#limit; over > 0 || this.#rows.length > MOST_ROWS; ) {
      const oldest = this.#rows.shift()!;
      dispose(oldest);
      over -= oldest.bytes;
    }
  }

  /** Disposes of all rows. */
  empty(): void {
    this.#rows.forEach(dispose);
    this.#rows = [];
  }
}

function dispose({ row }: KeptRow): void {
  row.dispose?.();
}
