/** @file The rows of large data files that have given values, without reading the files whole.
 *
 *  Of a Parquet file only the columns with the values are read, group of rows by group of rows, and the others only where a row matches;
 *  groups whose statistics exclude the values are passed over. JSON lines are read line by line; other files whole. */

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createGunzip } from "node:zlib";
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { DataError } from "../base/errors.ts";
import type { Row } from "./row.ts";
import { asRecord, type ByteSource, bytesOf, dataFormat, parseJson, plain, readRows, unreadable, unreadableParquet } from "./rows.ts";

/** Values of fields: a row matches when each field has one of its values. No fields match every row. */
export type RowFilter = Readonly<Record<string, string | readonly string[]>>;

/** Whether a row has the values. */
export function matches(value: Readonly<Record<string, unknown>>, filter: RowFilter): boolean {
  return Object.entries(filter).every(([field, wanted]) => [wanted].flat().includes(String(value[field])));
}

/** The rows of a file that match, in its order, read as they are asked for. */
export async function* matchingRows(path: string, filter: RowFilter): AsyncGenerator<Row> {
  const format = dataFormat(path);
  if (format === "parquet") {
    const file = await open(path).catch((cause: unknown) => {
      throw unreadable(path, cause);
    });
    try {
      yield* matchingParquetRows(await bytesOf(file), path, filter);
    } finally {
      await file.close();
    }
  } else if (format === "jsonl" || format === "ndjson") yield* matchingLines(path, filter);
  else for (const row of await readRows(path)) if (matches(row.value, filter)) yield row;
}

async function* matchingLines(path: string, filter: RowFilter): AsyncGenerator<Row> {
  const bytes = createReadStream(path);
  const input = path.endsWith(".gz") ? bytes.pipe(createGunzip()) : bytes;
  let line = 0;
  try {
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line++;
      if (text.trim() === "") continue;
      const where = `${path}, line ${line}`;
      const value = asRecord(parseJson(text, where), where);
      if (matches(value, filter)) yield { value, where };
    }
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw unreadable(path, cause);
  } finally {
    bytes.destroy();
  }
}

/** The matching rows of a Parquet file, wherever its bytes are. */
export async function* matchingParquetRows(file: ByteSource, name: string, filter: RowFilter): AsyncGenerator<Row> {
  const fields = Object.keys(filter);
  const metadata = await parquetMetadataAsync(file).catch((cause: unknown) => {
    throw unreadableParquet(name, cause);
  });
  let start = 0;
  for (const group of metadata.row_groups) {
    const rowStart = start;
    start += Number(group.num_rows);
    if (
      fields.some((field) =>
        isExcluded(
          group.columns.map(({ meta_data }) => meta_data),
          field,
          [filter[field]!].flat(),
        ),
      )
    )
      continue;
    const range = { file, metadata, compressors, rowStart, rowEnd: start };
    const found = fields.length > 0 ? await parquetReadObjects({ ...range, columns: fields }) : undefined;
    if (found && !found.some((row) => matches(row, filter))) continue;
    const rows = await parquetReadObjects(range);
    for (const [i, row] of rows.entries()) {
      const where = `${name}, row ${rowStart + i + 1}`;
      const value = asRecord(plain(row), where);
      if (matches(value, filter)) yield { value, where };
    }
  }
}

type ColumnMeta = Awaited<ReturnType<typeof parquetMetadataAsync>>["row_groups"][number]["columns"][number]["meta_data"];

/** Whether a group's smallest and largest text leave no room for any of these values. */
function isExcluded(columns: readonly ColumnMeta[], field: string, wanted: readonly string[]): boolean {
  const column = columns.find((meta) => meta?.path_in_schema.join(".") === field);
  const { min_value: least, max_value: most } = column?.statistics ?? {};
  if (typeof least !== "string" || typeof most !== "string") return false;
  return wanted.every((value) => compared(value, least) < 0 || compared(value, most) > 0);
}

/** Parquet orders texts by their UTF-8 bytes. */
const compared = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
