/** @file Any row of a large data file at any time, without the file in memory.
 *
 *  One pass over the file finds where its rows begin (row-index.ts), and the hash of its text. A gzipped file is written out for it into
 *  a temporary file, and a Parquet file as JSON lines, since rows inside of them cannot be reached one by one. */

import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError, messageOf, UserError } from "../base/errors.ts";
import { parseHeader, parseRecord } from "./delimited.ts";
import { filePieces, PIECE, parquetLines } from "./file-pieces.ts";
import type { Row } from "./row.ts";
import { arrayIndexer, delimitedIndexer, type Indexer, lineIndexer, type RowIndex } from "./row-index.ts";
import { dataFormat, type Format, jsonRow, unknownFormat, unreadable, unreadableParquet } from "./rows.ts";

/** How much of a file has been read, in bytes on the disk. */
export interface ReadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}
export interface RowFileOptions {
  readonly onRead?: ((progress: ReadProgress) => void) | undefined;
}

/** Rows that are read when they are needed. */
export interface RowFile {
  readonly path: string;
  readonly count: number;
  /** SHA-256 of the text, in hex. */
  readonly hash: string;
  /** File and line of a row, from 0. */
  where(row: number): string;
  /** The text of rows, in the order given. `parsed` reads it. */
  texts(rows: readonly number[]): Promise<Uint8Array[]>;
  /** The text of some rows from `first` on, read at once: one at least, unless there are no more. */
  textsFrom(first: number): Promise<Uint8Array[]>;
  /** @throws DataError that names the row. */
  parsed(row: number, text: Uint8Array): Row;
  close(): Promise<void>;
}

const MOST_ROWS = 1000;
const LONGEST = 2 ** 28; // bytes of a row; a text in JavaScript is at most twice as long

/** Opens a file and finds its rows. A file without rows is an error. */
export async function openRowFile(path: string, { onRead }: RowFileOptions = {}): Promise<RowFile> {
  const format = dataFormat(path);
  if (!format) throw unknownFormat(path);
  const handle = await open(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  let scratch: FileHandle | undefined;
  try {
    const totalBytes = (await handle.stat()).size;
    const onBytes = (loadedBytes: number) => onRead?.({ loadedBytes, totalBytes });
    onBytes(0);
    const isPacked = format === "parquet" || path.endsWith(".gz");
    if (isPacked) scratch = await temporaryFile();
    const pieces = format === "parquet" ? parquetLines(handle, onBytes) : filePieces(handle, path, onBytes);
    const { index, hash, layout } = await indexed(pieces, { path, format, copy: scratch });
    if (isPacked) await handle.close();
    return await rowFile({ path, index, hash, layout, handle: scratch ?? handle, format });
  } catch (error) {
    await handle.close().catch(() => undefined); // the first failure is the one to report
    await scratch?.close();
    throw error;
  }
}

/** A file that nobody else sees, and that is gone when it is closed or the process ends. */
async function temporaryFile(): Promise<FileHandle> {
  const path = join(tmpdir(), `skein-rows-${randomUUID()}`);
  const handle = await open(path, "wx+", 0o600);
  // Windows does not remove the name of an open file; there its own cleaning of temporary files does.
  if (process.platform !== "win32") await rm(path);
  return handle;
}

type Layout = "lines" | "array" | "delimited";
interface Text {
  readonly path: string;
  readonly format: Format;
  readonly copy: FileHandle | undefined;
}

/** Reads the text once: its rows, its hash, and its copy. */
async function indexed(pieces: AsyncIterable<Uint8Array>, { path, format, copy }: Text) {
  const hash = createHash("sha256");
  let [indexer, layout, position] = [undefined as Indexer | undefined, "lines" as Layout, 0];
  try {
    for await (const piece of pieces) {
      hash.update(piece);
      if (copy) await copy.write(piece, 0, piece.length, position);
      position += piece.length;
      if (indexer) indexer.push(piece);
      else {
        layout = layoutOf(format, piece);
        const from = hasMark(piece) ? MARK.length : 0; // a mark of the byte order is not part of the first row
        indexer =
          layout === "lines"
            ? lineIndexer(from)
            : layout === "array"
              ? arrayIndexer(path, from)
              : delimitedIndexer(delimiterOf(format), from);
        indexer.push(piece.subarray(from));
      }
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw format === "parquet" ? unreadableParquet(path, error) : unreadable(path, error);
  }
  return { index: indexer?.finish(), hash: hash.digest("hex"), layout };
}

const DELIMITERS: Partial<Record<Format, string>> = { csv: ",", tsv: "\t" };
const delimiterOf = (format: Format) => DELIMITERS[format]!.charCodeAt(0);
const MARK = [0xef, 0xbb, 0xbf];
const hasMark = (piece: Uint8Array) => MARK.every((byte, i) => piece[i] === byte);

function layoutOf(format: Format, piece: Uint8Array): Layout {
  if (DELIMITERS[format] !== undefined) return "delimited";
  if (format !== "json") return "lines";
  return Buffer.from(piece).toString("utf8").trimStart().startsWith("[") ? "array" : "lines";
}

interface Parts {
  readonly path: string;
  readonly format: Format;
  readonly index: RowIndex | undefined;
  readonly hash: string;
  readonly layout: Layout;
  readonly handle: FileHandle;
}

async function rowFile({ path, index, hash, layout, handle, format }: Parts): Promise<RowFile> {
  const delimiter = DELIMITERS[format];
  const first = delimiter === undefined ? 0 : 1; // the header
  if (index === undefined || index.count <= first) {
    throw new DataError({ code: "data-empty", what: "The dataset is empty.", where: path, fix: "Give a file with at least one example." });
  }
  const place = format === "parquet" ? "row" : layout === "array" ? "item" : "line";
  const where = (row: number) => `${path}, ${place} ${index.line(row + first)}`;
  const bytes = async (start: number, end: number): Promise<Uint8Array> => {
    const { buffer, bytesRead } = await handle.read(new Uint8Array(end - start), 0, end - start, start);
    if (bytesRead === end - start) return buffer;
    throw unreadable(path, new Error("it became shorter while it was read"));
  };
  const checked = (row: number): number => {
    const length = index.end(row + first) - index.start(row + first);
    if (length <= LONGEST) return row + first;
    const what = `This row is ${Math.round(length / 2 ** 20)} MiB long, which is more than a row can be.`;
    const fix = delimiter ? "Look for a quote that opens a field and does not close it." : "Write one object per line, or shorten it.";
    throw new DataError({ code: "data-bad-row", what, where: where(row), fix });
  };
  const header = delimiter === undefined ? [] : parseHeader(decoded(await bytes(index.start(0), index.end(0)), path), delimiter, path);
  return {
    path,
    count: index.count - first,
    hash,
    where,
    texts: (rows) => Promise.all(rows.map(checked).map((row) => bytes(index.start(row), index.end(row)))),
    async textsFrom(from) {
      const rows: number[] = [];
      for (let row = from; row + first < index.count && rows.length < MOST_ROWS; row++) {
        if (rows.length > 0 && index.end(row + first) - index.start(from + first) > PIECE) break;
        rows.push(checked(row));
      }
      if (rows.length === 0) return [];
      const start = index.start(rows[0]!);
      const all = await bytes(start, index.end(rows.at(-1)!));
      return rows.map((row) => all.subarray(index.start(row) - start, index.end(row) - start));
    },
    parsed(row, text) {
      const at = where(row);
      const content = decoded(text, at);
      if (delimiter === undefined) return jsonRow(content, at);
      return parseRecord(content, { delimiter, header, path, line: index.line(row + first) });
    },
    close: () => handle.close(),
  };
}

function decoded(text: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(text);
  } catch (cause) {
    const fix = "Convert the file, for example: iconv -f LATIN1 -t UTF-8 old > new.";
    throw new DataError({ code: "data-not-utf8", what: `The row is not UTF-8 text: ${messageOf(cause)}`, where, fix, cause });
  }
}
