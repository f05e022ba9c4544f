/** @file API keys in a file: one a line, "KEY" or "NAME KEY"; a key is its text or sha256:HEX. Lines that begin with # are comments. Keys are
 *  kept hashed, compared in constant time, and read again when the file changes. */

import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { OptionError } from "../../base/errors.ts";

interface Key {
  readonly name: string;
  readonly hash: Buffer;
}

const LOOK_EVERY = 1000; // milliseconds

export class ApiKeys {
  readonly #file: string;
  readonly #onWarning: (warning: string) => void;
  #keys: readonly Key[];
  #stamp: string;
  #looked = Date.now();

  constructor(file: string, onWarning: (warning: string) => void = () => {}) {
    this.#file = file;
    this.#onWarning = onWarning;
    this.#stamp = stampOf(file);
    this.#keys = parsedKeys(readFileSync(file, "utf8"), file);
  }

  /** The name of a request's key; undefined for a key that is none. Every key is compared, whichever it is. */
  nameOf(authorization: string | undefined): string | undefined {
    this.#look();
    const [, given] = /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? "") ?? [];
    const hash = sha256(given ?? "");
    let name: string | undefined;
    for (const key of this.#keys) if (timingSafeEqual(key.hash, hash)) name = key.name;
    return given === undefined ? undefined : name;
  }

  #look(): void {
    if (Date.now() - this.#looked < LOOK_EVERY) return;
    this.#looked = Date.now();
    try {
      const stamp = stampOf(this.#file);
      if (stamp === this.#stamp) return;
      this.#keys = parsedKeys(readFileSync(this.#file, "utf8"), this.#file);
      this.#stamp = stamp;
    } catch (error) {
      this.#onWarning(`The API keys cannot be read again; the old ones hold. ${String(error)}`);
    }
  }
}

function stampOf(file: string): string {
  const { mtimeMs, size, ino } = statSync(file);
  return `${mtimeMs} ${size} ${ino}`;
}

function parsedKeys(text: string, file: string): Key[] {
  const keys = text.split(/\r?\n/).flatMap((line, i): Key[] => {
    const words = line.trim().split(/\s+/);
    if (line.trim() === "" || line.trim().startsWith("#")) return [];
    const key = words.at(-1)!;
    const [, hex] = /^sha256:([0-9a-f]{64})$/i.exec(key) ?? [];
    if (words.length > 2 || (key.startsWith("sha256:") && hex === undefined)) throw badKeys(`Line ${i + 1} is no key.`, file);
    const hash = hex === undefined ? sha256(key) : Buffer.from(hex, "hex");
    return [{ name: words.length === 2 ? words[0]! : `key-${hash.toString("hex").slice(0, 8)}`, hash }];
  });
  if (keys.length === 0) throw badKeys("There is no key in the file.", file);
  return keys;
}

function badKeys(what: string, where: string): OptionError {
  return new OptionError({
    code: "option-invalid",
    data: { option: "apiKeys" },
    what,
    where,
    fix: "Write one key a line: KEY, or NAME KEY, where KEY may be sha256:HEX.",
  });
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
