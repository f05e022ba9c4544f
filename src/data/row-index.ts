/** @file The places of the rows in the bytes of a data file, found in one pass: 16 bytes of memory for each row.
 *
 *  Bytes come in pieces of any size. Only the borders of rows are found here; whether a row can be read shows when it is. */

import { DataError } from "../base/errors.ts";

// A row that is longer is recorded with this length, which is already far more than a row can be (row-file.ts refuses it).
const LONGEST = 2 ** 32 - 1;

/** Where each row begins, how long it is, and on which line it begins (from 1). */
export class RowIndex {
  count = 0;
  #starts = new Float64Array(1024);
  #lengths = new Uint32Array(1024);
  #lines = new Uint32Array(1024);

  add(start: number, end: number, line: number): void {
    if (this.count === this.#starts.length) this.#grow();
    this.#starts[this.count] = start;
    this.#lengths[this.count] = Math.min(end - start, LONGEST);
    this.#lines[this.count++] = line;
  }
  start(row: number): number {
    return this.#starts[row]!;
  }
  end(row: number): number {
    return this.#starts[row]! + this.#lengths[row]!;
  }
  line(row: number): number {
    return this.#lines[row]!;
  }

  #grow(): void {
    const grown = <T extends Float64Array | Uint32Array>(old: T, empty: T): T => {
      empty.set(old);
      return empty;
    };
    const size = 2 * this.count;
    this.#starts = grown(this.#starts, new Float64Array(size));
    this.#lengths = grown(this.#lengths, new Uint32Array(size));
    this.#lines = grown(this.#lines, new Uint32Array(size));
  }
}

/** Takes the bytes of a file in order. */
export interface Indexer {
  push(bytes: Uint8Array): void;
  /** Called once, after the last bytes. */
  finish(): RowIndex;
}

const [LF, CR, SPACE, QUOTE, COMMA, BACKSLASH] = [0x0a, 0x0d, 0x20, 0x22, 0x2c, 0x5c];
const [OPEN, CLOSE, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];

/** One row a line; blank lines are no rows. The bytes begin at the offset `from` of the file. */
export function lineIndexer(from: number): Indexer {
  const index = new RowIndex();
  let [offset, start, line, isBlank] = [from, from, 1, true];
  const endRow = (end: number) => {
    if (!isBlank) index.add(start, end, line);
    [start, isBlank] = [end + 1, true];
    line++;
  };
  return {
    push(bytes) {
      let at = 0;
      while (at < bytes.length) {
        while (isBlank && at < bytes.length && bytes[at]! <= SPACE && bytes[at] !== LF) at++;
        if (at < bytes.length && bytes[at] !== LF) isBlank = false;
        const end = bytes.indexOf(LF, at);
        if (end < 0) break;
        endRow(offset + end);
        at = end + 1;
      }
      offset += bytes.length;
    },
    finish() {
      endRow(offset);
      return index;
    },
  };
}

/** The items of one JSON array. Their line is their number. */
export function arrayIndexer(path: string, from: number): Indexer {
  const index = new RowIndex();
  let [offset, start, depth, isOver] = [from, from, 0, false];
  let [inText, escaped, isBlank] = [false, false, true];
  const endItem = (end: number) => {
    index.add(start, end, index.count + 1);
    [start, isBlank] = [end + 1, true];
  };
  /** A byte outside of a text that is not white space. */
  const step = (byte: number, at: number) => {
    if (depth === 0) {
      if (byte !== OPEN || isOver) throw badArray("it goes on after its array", path);
      [depth, start] = [1, at + 1];
      return;
    }
    if (depth === 1 && byte === COMMA) return endItem(at);
    if (byte === CLOSE || byte === CLOSE_BRACE) {
      depth--;
      if (depth > 0) return;
      if (!isBlank || index.count > 0) endItem(at);
      isOver = true;
      return;
    }
    isBlank = false;
    if (byte === OPEN || byte === OPEN_BRACE) depth++;
    else if (byte === QUOTE) inText = true;
  };
  return {
    push(bytes) {
      for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i]!;
        if (!inText) {
          if (byte > SPACE) step(byte, offset + i);
        } else if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inText = false;
      }
      offset += bytes.length;
    },
    finish() {
      if (depth > 0) throw badArray("its array does not end", path);
      return index;
    },
  };
}

function badArray(what: string, where: string): DataError {
  return new DataError({
    code: "data-bad-json",
    what: `Not valid JSON: ${what}.`,
    where,
    fix: "Give one array of objects, or one object a line.",
  });
}

/** Records of CSV or TSV, the header among them. A quoted field may hold delimiters and line ends; empty lines are no records. */
export function delimitedIndexer(delimiter: number, from: number): Indexer {
  const index = new RowIndex();
  let [offset, start, line, firstLine, previous] = [from, from, 1, 1, LF];
  let [isEmpty, beginsField, isQuoted, hasClosed] = [true, true, false, false];
  const endRecord = (end: number) => {
    if (!isEmpty) index.add(start, end, firstLine);
    [start, isEmpty, beginsField, hasClosed, firstLine] = [end + 1, true, true, false, line];
  };
  const step = (byte: number, at: number) => {
    const isEnd = byte === LF || byte === CR;
    if (isEnd && !(byte === LF && previous === CR)) line++;
    previous = byte;
    if (isQuoted) [isQuoted, hasClosed] = [byte !== QUOTE, byte === QUOTE];
    else if (isEnd) endRecord(at);
    else {
      // A quote opens a field at its beginning; behind a closing quote it is the second of a pair.
      isQuoted = byte === QUOTE && (beginsField || hasClosed);
      [isEmpty, beginsField, hasClosed] = [false, byte === delimiter, false];
    }
  };
  return {
    push(bytes) {
      for (let i = 0; i < bytes.length; i++) step(bytes[i]!, offset + i);
      offset += bytes.length;
    },
    finish() {
      endRecord(offset);
      return index;
    },
  };
}
