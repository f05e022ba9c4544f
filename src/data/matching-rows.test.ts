/** @file Matching rows of large files: the same rows as by reading everything, and little of a Parquet file is read. */

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { matchingParquetRows, matchingRows, type RowFilter } from "./matching-rows.ts";
import type { Row } from "./row.ts";

const ROWS = Array.from({ length: 400 }, (_, i) => ({
  inputs: `question ${i} ${noise(i)}`,
  targets: `answer ${i}`,
  _task_name: `task-${String(Math.floor(i / 50)).padStart(2, "0")}`, // sorted, as datasets by task are
  source: i % 2 === 0 ? "even" : "odd",
}));

/** A text that no compression shortens much. */
function noise(seed: number): string {
  return Array.from({ length: 30 }, (_, j) => createHash("sha256").update(`${seed} ${j}`).digest("base64")).join("");
}

let folder: string;
let parquet: ArrayBuffer;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-matching-"));
  const columnData = (["inputs", "targets", "_task_name", "source"] as const).map((name) => ({
    name,
    data: ROWS.map((row) => row[name]),
    type: "STRING" as const,
  }));
  parquet = parquetWriteBuffer({ columnData, rowGroupSize: 50 });
  await writeFile(at("rows.parquet"), Buffer.from(parquet));
  const lines = ROWS.map((row) => JSON.stringify(row)).join("\n");
  await writeFile(at("rows.jsonl"), `${lines}\n\n`);
  await writeFile(at("rows.jsonl.gz"), gzipSync(lines));
  await writeFile(at("rows.json"), JSON.stringify(ROWS));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function all(rows: AsyncIterable<Row>): Promise<Row[]> {
  const found: Row[] = [];
  for await (const row of rows) found.push(row);
  return found;
}

const FILTERS: [string, RowFilter, (row: (typeof ROWS)[number]) => boolean][] = [
  ["one task", { _task_name: "task-03" }, (row) => row._task_name === "task-03"],
  ["two tasks", { _task_name: ["task-00", "task-07"] }, (row) => ["task-00", "task-07"].includes(row._task_name)],
  ["two fields", { _task_name: "task-01", source: "odd" }, (row) => row._task_name === "task-01" && row.source === "odd"],
  ["a value that no row has", { _task_name: "task-99" }, () => false],
  ["no filter", {}, () => true],
];

test.each(["rows.parquet", "rows.jsonl", "rows.jsonl.gz", "rows.json"])("%s gives the rows that match, in order", async (name) => {
  for (const [, filter, isWanted] of FILTERS) {
    const found = await all(matchingRows(at(name), filter));
    expect(found.map(({ value }) => value)).toEqual(ROWS.filter(isWanted));
  }
  const [first] = await all(matchingRows(at(name), { _task_name: "task-01" }));
  expect(first!.where).toContain("51"); // the row or line in the file
});

const FOOTER = 2 ** 19; // bytes at the end of a file that are always read, in case they hold all of its metadata

function counted() {
  const source = {
    read: -FOOTER,
    byteLength: parquet.byteLength,
    async slice(start: number, end = parquet.byteLength) {
      const part = parquet.slice(start, end);
      source.read += part.byteLength;
      return part;
    },
  };
  return source;
}

test("groups that cannot hold the value are not read", async () => {
  const source = counted();
  expect(await all(matchingParquetRows(source, "x", { _task_name: "task-05" }))).toHaveLength(50);
  const whole = counted();
  await all(matchingParquetRows(whole, "x", {}));
  expect(source.read).toBeLessThan(whole.read / 2);
});

test("of a group in which no row matches only the columns of the filter are read", async () => {
  const source = counted(); // "none" lies between "even" and "odd": the statistics do not exclude it
  expect(await all(matchingParquetRows(source, "x", { source: "none" }))).toEqual([]);
  const whole = counted();
  await all(matchingParquetRows(whole, "x", {}));
  expect(source.read).toBeLessThan(whole.read / 2);
});

test("a reader that stops early reads no further group", async () => {
  const source = counted();
  for await (const _ of matchingParquetRows(source, "x", {})) break;
  const whole = counted();
  await all(matchingParquetRows(whole, "x", {}));
  expect(source.read).toBeLessThan(whole.read / 2);
});

test("broken files and lines are named", async () => {
  await writeFile(at("cut.parquet"), (await readFile(at("rows.parquet"))).subarray(0, 1000));
  await expect(all(matchingRows(at("cut.parquet"), {}))).rejects.toMatchObject({ code: "data-unreadable", where: at("cut.parquet") });
  await writeFile(at("bad.jsonl"), '{"a": "1"}\n{"a": \n');
  await expect(all(matchingRows(at("bad.jsonl"), { a: "1" }))).rejects.toMatchObject({ where: expect.stringContaining("line 2") });
  await expect(all(matchingRows(at("none.jsonl"), {}))).rejects.toMatchObject({ code: "data-unreadable" });
  await expect(all(matchingRows(at("none.parquet"), {}))).rejects.toMatchObject({ code: "data-unreadable" });
});
