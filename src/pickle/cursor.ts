/** @file Reads a source from beginning to end through a window. Lengths in the file are not trusted. */

import { damaged, type Source } from "./source.ts";

const WINDOW = 2 ** 16;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The longest line or string; names of tensors are much shorter. */
const LONGEST_TEXT = 2 ** 20;

export class Cursor {
  readonly source: Source;
  readonly end: number;
  position: number;
  #window: Uint8Array;
  #start: number;

  constructor(source: Source, start = 0, end = source.size) {
    this.source = source;
    this.position = start;
    this.end = end;
    this.#window = new Uint8Array(0);
    this.#start = start;
  }

  byte(): number {
    const at = this.#have(1);
    return this.#window[at]!;
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (length > LONGEST_TEXT) throw damaged(this.where(), `a text of ${length} bytes, longer than any tensor's name.`);
    const at = this.#have(length);
    return new Uint8Array(this.#window.subarray(at, at + length));
  }

  /** An unsigned little-endian number of `width` bytes. A number that is not exact in a double is an error. */
  unsigned(width: 1 | 2 | 4 | 8): number {
    const at = this.#have(width);
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#window[at + i]!;
    if (!Number.isSafeInteger(value)) throw damaged(this.where(), "a number larger than any file.");
    return value;
  }

  /** The bytes up to the next line feed, which is skipped. */
  line(): string {
    const characters: number[] = [];
    for (let next = this.byte(); next !== 10; next = this.byte()) {
      characters.push(next);
      if (characters.length > 4096) throw damaged(this.where(), "a line of more than 4096 bytes.");
    }
    return this.text(Uint8Array.from(characters));
  }

  text(bytes: Uint8Array): string {
    try {
      return UTF8.decode(bytes);
    } catch (cause) {
      throw damaged(this.where(), "a text that is not UTF-8.", cause);
    }
  }

  /** For errors. */
  where(): string {
    return `${this.source.name}, byte ${this.position}`;
  }

  /** Loads the next `length` bytes, moves past them, and returns their offset in the window. */
  #have(length: number): number {
    if (length > this.end - this.position) throw damaged(this.where(), `it ends ${length - (this.end - this.position)} bytes too early.`);
    if (this.position < this.#start || this.position + length > this.#start + this.#window.length) {
      this.#start = this.position;
      this.#window = this.source.read(this.position, Math.min(Math.max(WINDOW, length), this.end - this.position));
    }
    const at = this.position - this.#start;
    this.position += length;
    return at;
  }
}
