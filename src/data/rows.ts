/** @file Rows of a data file: JSON lines, a JSON array, CSV or TSV with a header, Parquet; plain or gzipped.
 *
 *  A `.json` file may hold JSON lines, as many published ones do. Text must be UTF-8. */

import { type FileHandle, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { DataError, messageOf } from "../base/errors.ts";
import { JsonNumber, parseExactJson } from "../base/json.ts";
import { parseDelimited } from "./delimited.ts";
import type { DataRecord, Row } from "./row.ts";

export const DATA_FORMATS = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet"] as const;
export type Format = (typeof DATA_FORMATS)[number];

/** Whether `readRows` knows this kind of file. */
export function isDataFile(path: string): boolean {
  return dataFormat(path) !== undefined;
}

/** The format, from the file's name without `.gz`. */
export function dataFormat(path: string): Format | undefined {
  const name = path.replace(/\.gz$/, "");
  return DATA_FORMATS.find((format) => name.endsWith(`.${format}`));
}

/** All rows of a file; a file without rows is an error. */
export async function readRows(path: string): Promise<Row[]> {
  const format = dataFormat(path);
  if (!format) throw unknownFormat(path);
  const bytes = await readBytes(path);
  const rows = format === "parquet" ? await parquetRows(bytes, path) : textRows(decodeUtf8(bytes, path), path, format);
  if (rows.length === 0) {
    throw new DataError({ code: "data-empty", what: "The dataset is empty.", where: path, fix: "Give a file with at least one example." });
  }
  return rows;
}

export function unknownFormat(path: string): DataError {
  return new DataError({
    code: "data-unknown-format",
    what: "The kind of this data file is not known from its name.",
    where: path,
    fix: `Use one of ${DATA_FORMATS.map((name) => `.${name}`).join(", ")}, optionally followed by .gz.`,
  });
}

/** The text of a UTF-8 file; decompressed if its name ends in .gz. */
export async function readUtf8(path: string): Promise<string> {
  return decodeUtf8(await readBytes(path), path);
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const bytes = await readFile(path);
    return path.endsWith(".gz") ? await promisify(gunzip)(bytes) : bytes;
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** The error for a file that cannot be read. */
export function unreadable(path: string, cause: unknown): DataError {
  const fix = "Check the path, and that the file can be read.";
  return new DataError({ code: "data-unreadable", what: `The file cannot be read: ${messageOf(cause)}`, where: path, fix, cause });
}

function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataError({
      code: "data-not-utf8",
      what: `The file is not UTF-8 text: its line ${firstBadLine(bytes)} has bytes that UTF-8 does not allow.`,
      where: path,
      fix: "Convert it, for example: iconv -f LATIN1 -t UTF-8 old > new.",
      cause,
    });
  }
}

function firstBadLine(bytes: Uint8Array): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(start, end));
    } catch {
      return line;
    }
    start = end + 1;
  }
  return line;
}

function textRows(text: string, path: string, format: Exclude<Format, "parquet">): Row[] {
  if (format === "csv" || format === "tsv") return parseDelimited(text, format === "csv" ? "," : "\t", path);
  if (format === "json" && text.trimStart().startsWith("[")) return jsonArray(text, path);
  if (format === "json") refuseObject(text, path);
  const lines = text.split(/\r?\n/);
  return lines.flatMap((line, i) => (line.trim() === "" ? [] : [jsonRow(line, `${path}, line ${i + 1}`)]));
}

/** A single object over several lines is valid JSON but not rows. It gets its own error, instead of one about a broken first line. */
function refuseObject(text: string, path: string): void {
  const [firstLine = ""] = text.trimStart().split("\n", 1);
  if (jsonOf(firstLine) !== undefined) return;
  const value = jsonOf(text);
  if (value === undefined) return; // each bad line is reported on its own
  const what = `This file is one JSON object, with the fields ${fieldNames(asRecord(value, path))}: not rows.`;
  const fix = "Give an array of objects, or one object a line; where a field holds the rows, keep that field alone.";
  throw new DataError({ code: "data-bad-json", what, where: path, fix });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not JSON
  }
}

/** The fields of a row for a message, shortened. In a file without a header they are the values of its first row. */
export function fieldNames(value: DataRecord): string {
  const names = Object.keys(value).map((name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name));
  return names.length > 20 ? `${names.slice(0, 20).join(", ")} and ${names.length - 20} more` : names.join(", ");
}

/** The row in one line of JSON. */
export function jsonRow(line: string, where: string): Row {
  return { value: asRecord(parseJson(line, where), where), where, exact: () => asRecord(parseExactJson(line), where) };
}

function jsonArray(text: string, path: string): Row[] {
  const values = parseJson(text, path);
  if (!Array.isArray(values)) {
    throw new DataError({ code: "data-bad-json", what: "Expected a JSON array of objects.", where: path, fix: "Wrap the rows in [ ]." });
  }
  let exact: readonly unknown[] | undefined;
  const exactly = () => (exact ??= parseExactJson(text) as unknown[]);
  return values.map((value: unknown, i) => {
    const where = `${path}, item ${i + 1}`;
    return { value: asRecord(value, where), where, exact: () => asRecord(exactly()[i], where) };
  });
}

/** Parses JSON; the error names the place. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const fix = "Mend the JSON: one object per line in .jsonl, an array of objects in .json.";
    throw new DataError({ code: "data-bad-json", what: `Not valid JSON: ${messageOf(cause)}`, where, fix, cause });
  }
}

/** A row's value, which must be an object. */
export function asRecord(value: unknown, where: string): DataRecord {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  const got = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  throw new DataError({
    code: "data-bad-row",
    what: `Expected an object, got ${got}.`,
    where,
    fix: 'Write rows as {"field": value, ...}.',
  });
}

async function parquetRows(bytes: Uint8Array, path: string): Promise<Row[]> {
  const file = bytes.slice().buffer;
  try {
    const rows = await parquetReadObjects({ file, compressors });
    return rows.map((value, i) => ({
      value: asRecord(plain(value), path),
      where: `${path}, row ${i + 1}`,
      exact: () =>
        asRecord(
          plain(value, (integer) => new JsonNumber(String(integer))),
          path,
        ),
    }));
  } catch (cause) {
    throw unreadableParquet(path, cause);
  }
}

/** The error for a Parquet file that cannot be read. */
export function unreadableParquet(path: string, cause: unknown): DataError {
  const fix = "Check that the file is complete; a Git LFS pointer or a broken download is a common reason.";
  return new DataError({ code: "data-unreadable", what: `The Parquet file cannot be read: ${messageOf(cause)}`, where: path, fix, cause });
}

/** Bytes that are read in parts: a file's, or those that a server gives by ranges. */
export interface ByteSource {
  readonly byteLength: number;
  slice(start: number, end?: number): Promise<ArrayBuffer>;
}

/** The bytes of an open file. */
export async function bytesOf(file: FileHandle): Promise<ByteSource> {
  const { size } = await file.stat();
  const slice = async (start: number, end = size) => {
    const { buffer, bytesRead } = await file.read(new Uint8Array(end - start), 0, end - start, start);
    return buffer.buffer.slice(0, bytesRead);
  };
  return { byteLength: size, slice };
}

/** Converts values to those of JSON: 64-bit integers to numbers if they fit, else to digits; dates to ISO 8601; an absent list to null. */
export function plain(value: unknown, long: (integer: bigint) => unknown = String): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : long(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((item: unknown) => plain(item, long));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, long)]));
}
