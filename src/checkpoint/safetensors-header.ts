/** @file The header of a safetensors file. The reader trusts nothing in it.
 *  (Format: huggingface.co/docs/safetensors.)
 *
 *    8 bytes   n, the header's length: unsigned, little-endian
 *    n bytes   JSON { name: { dtype, shape, data_offsets: [begin, end] }, ..., "__metadata__"?: { key: text } }
 *    the rest  the tensors' bytes; offsets count from here, and together they cover it without gap or overlap */

import { CheckpointError, messageOf } from "../base/errors.ts";
import { DTYPE_BYTES, type FileDType, isFileDType } from "./dtypes.ts";

/** Where a tensor lies in a file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  /** The file's real path, symbolic links resolved. */
  readonly file: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface Header {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

export const METADATA = "__metadata__";

/** The reference implementation's limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/** The error for a damaged or invalid file. */
export function corrupt(file: string, what: string, { cause, isCut = false }: { cause?: unknown; isCut?: boolean } = {}): CheckpointError {
  return new CheckpointError({
    code: isCut ? "checkpoint-truncated" : "checkpoint-damaged",
    what: `Not a valid safetensors file: ${what}`,
    where: file,
    fix: "The file is damaged, incomplete or of another format: fetch or export it again.",
    cause,
  });
}

/** Parses a header's JSON bytes. `file`: its real path; `fileBytes`: the whole file's size. */
export function parseHeader(json: Uint8Array, { file, fileBytes }: { file: string; fileBytes: number }): Header {
  const entries = parseObject(json, file);
  const dataStart = 8 + json.length;
  const tensors = new Map<string, TensorInfo>();
  let metadata: Readonly<Record<string, string>> = {};
  for (const [name, value] of entries) {
    if (name === METADATA) metadata = parseMetadata(value, file);
    else tensors.set(name, parseEntry(name, value, { file, dataStart }));
  }
  checkCover([...tensors.values()], { file, dataStart, fileBytes });
  return { tensors, metadata };
}

function parseObject(json: Uint8Array, file: string): [string, unknown][] {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    parsed = JSON.parse(text);
  } catch (error) {
    throw corrupt(file, `its header is not JSON: ${messageOf(error)}.`, { cause: error });
  }
  if (!isObject(parsed)) throw corrupt(file, "its header is not a JSON object.");
  const twice = repeatedKey(text);
  if (twice !== undefined) throw corrupt(file, `its header names ${JSON.stringify(twice)} twice.`);
  return Object.entries(parsed);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A key that occurs twice in an object of the valid JSON `text`. JSON.parse keeps the last one without an error. */
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, literal] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (literal !== undefined) {
      const key = literal.includes("\\") ? String(JSON.parse(literal)) : literal.slice(1, -1);
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    }
  }
  return undefined;
}

function parseMetadata(value: unknown, file: string): Readonly<Record<string, string>> {
  if (!isObject(value)) throw corrupt(file, `${METADATA} is not an object of strings.`);
  const entries = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text !== "string") throw corrupt(file, `${METADATA} holds something other than text at ${JSON.stringify(key)}.`);
    return [key, text];
  });
  return Object.fromEntries(entries);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** The product; NaN, which equals nothing, if it is too large to be exact. */
function exactProduct(a: number, b: number): number {
  return Number.isSafeInteger(a * b) ? a * b : NaN;
}

function parseEntry(name: string, value: unknown, { file, dataStart }: { file: string; dataStart: number }): TensorInfo {
  const bad = (what: string): CheckpointError => corrupt(file, `tensor ${JSON.stringify(name)}: ${what}`);
  if (!isObject(value)) throw bad("its entry is not an object.");
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isFileDType(dtype)) throw bad(`unknown dtype ${JSON.stringify(dtype)}; known: ${Object.keys(DTYPE_BYTES).join(", ")}.`);
  if (!Array.isArray(shape) || !shape.every(isCount)) throw bad("its shape is not a list of sizes.");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) throw bad("its data_offsets are not two offsets.");
  const [begin = 0, end = 0] = offsets;
  const bytes = shape.reduce((product, size) => exactProduct(product, size), DTYPE_BYTES[dtype]);
  if (bytes !== end - begin) throw bad(`${dtype} [${shape}] takes ${bytes} bytes, its data_offsets span ${end - begin}.`);
  return { name, dtype, shape, file, offset: dataStart + begin, bytes };
}

function checkCover(tensors: TensorInfo[], { file, dataStart, fileBytes }: { file: string; dataStart: number; fileBytes: number }): void {
  let covered = dataStart;
  for (const { name, offset, bytes } of tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (offset !== covered) {
      throw corrupt(
        file,
        `tensor ${JSON.stringify(name)} ${offset < covered ? "overlaps the one before it" : "leaves unused bytes before it"}.`,
      );
    }
    covered = offset + bytes;
  }
  if (covered > fileBytes)
    throw corrupt(file, `its tensors end at byte ${covered}, the file at byte ${fileBytes}: it is cut short.`, { isCut: true });
  if (covered < fileBytes) throw corrupt(file, `its tensors end at byte ${covered}, but the file goes on to byte ${fileBytes}.`);
}
