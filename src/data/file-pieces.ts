/** @file The text of a large data file in pieces: read as it is, unzipped, or written as lines of JSON (Parquet). */

import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { bytesOf, plain } from "./rows.ts";

/** Bytes read at a time. */
export const PIECE = 2 ** 20;

/** The text of a file in pieces, each valid until the next one is asked for. */
export function filePieces(handle: FileHandle, path: string, onBytes: (loaded: number) => void): AsyncGenerator<Uint8Array> {
  return path.endsWith(".gz") ? unzippedPieces(handle, path, onBytes) : plainPieces(handle, onBytes);
}

/** Reads into one buffer while the other is in use: new buffers for every piece would take longer than the reading. */
async function* plainPieces(handle: FileHandle, onBytes: (loaded: number) => void): AsyncGenerator<Uint8Array> {
  const buffers = [new Uint8Array(PIECE), new Uint8Array(PIECE)] as const;
  let position = 0;
  let next = handle.read(buffers[0], 0, PIECE, 0);
  for (let turn = 1; ; turn++) {
    const { bytesRead, buffer } = await next;
    if (bytesRead === 0) return;
    position += bytesRead;
    next = handle.read(buffers[turn % 2]!, 0, PIECE, position);
    yield buffer.subarray(0, bytesRead);
    onBytes(position);
  }
}

async function* unzippedPieces(handle: FileHandle, path: string, onBytes: (loaded: number) => void): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { fd: handle, autoClose: false, start: 0, highWaterMark: PIECE });
  const unzipped = file.pipe(createGunzip({ chunkSize: PIECE }));
  file.on("error", (error) => unzipped.destroy(error)); // pipe() does not pass it on
  for await (const piece of unzipped) {
    yield piece as Uint8Array;
    onBytes(file.bytesRead);
  }
}

const ROWS_AT_ONCE = 20_000;
/** Marks a 64-bit integer until its digits are written without quotes. */
const INTEGER = `${randomUUID()} `;
const INTEGERS = new RegExp(`"${INTEGER}(-?\\d+)"`, "g");

/** The rows of a Parquet file as lines of JSON, group by group. */
export async function* parquetLines(handle: FileHandle, onBytes: (loaded: number) => void): AsyncGenerator<Uint8Array> {
  const file = await bytesOf(handle);
  const metadata = await parquetMetadataAsync(file);
  const count = Number(metadata.num_rows);
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    for (; start < end; start = Math.min(end, start + ROWS_AT_ONCE)) {
      const rowEnd = Math.min(end, start + ROWS_AT_ONCE);
      const rows = await parquetReadObjects({ file, metadata, compressors, rowStart: start, rowEnd });
      const lines = rows.map((row) => `${jsonLine(row)}\n`).join("");
      yield Buffer.from(lines);
      onBytes(Math.round((rowEnd / Math.max(1, count)) * file.byteLength));
    }
  }
}

function jsonLine(row: Record<string, unknown>): string {
  let hasLong = false;
  const long = (integer: bigint) => {
    hasLong = true;
    return `${INTEGER}${integer}`;
  };
  const line = JSON.stringify(plain(row, long), (_, value: unknown) => (ArrayBuffer.isView(value) ? null : value));
  return hasLong ? line.replace(INTEGERS, "$1") : line;
}
