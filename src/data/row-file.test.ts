import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../tests/temporary-folder.ts";
import { seededRandom } from "../base/random.ts";
import { exactRow } from "./row.ts";
import { openRowFile } from "./row-file.ts";
import { arrayIndexer, delimitedIndexer, type Indexer, lineIndexer, RowIndex } from "./row-index.ts";
import { readRows } from "./rows.ts";

const { write } = temporaryFolder();

const MARKED = "\uFEFF";
const LINES = '{"text": "one"}\n\n  \r\n{"text": "zwölf \\n \\"x\\"", "n": 12345678901234567890}\r\n \t{"text": "€"}';
const ARRAY = ' [ {"a": "b,]}\\"", "c": [1, {"d": "["}]} , {"a": "\\\\"},\n{"a": 20.0} ]\n';
const CSV = 'input,"tar""get"\n\n"a\nb",c\r\n"say ""x"", then\r\ny",it\'s "so"\rlast,\n';
const FILES: readonly (readonly [string, string])[] = [
  ["lines.jsonl", LINES],
  ["marked.jsonl", MARKED + LINES],
  ["lines.json", LINES],
  ["array.json", ARRAY],
  ["marked.json", MARKED + ARRAY],
  ["rows.csv", CSV],
  ["marked.csv", MARKED + CSV],
  ["rows.tsv", CSV.replaceAll(",", "\t")],
];

test.each(FILES)("the rows of %s are those that reading it whole gives, plain and gzipped, in any order", async (name, text) => {
  const path = await write(name, text);
  const rows = await readRows(path);
  for (const [at, content] of [
    [path, text],
    [`${path}.gz`, gzipSync(text)],
  ] as const) {
    if (at !== path) await write(`${name}.gz`, content);
    const file = await openRowFile(at);
    const numbers = [...rows.keys()].reverse();
    const texts = await file.texts(numbers);
    const found = numbers.map((row, i) => file.parsed(row, texts[i]!)).reverse();
    const places = rows.map(({ where }) => where.replace(path, at));
    expect(found.map(({ value, where }) => ({ value, where }))).toEqual(rows.map(({ value }, i) => ({ value, where: places[i] })));
    expect(found.map((row) => exactRow(row).value)).toEqual(rows.map((row) => exactRow(row).value));
    expect(Buffer.concat(await file.textsFrom(1))).toEqual(Buffer.concat(await file.texts([...rows.keys()].slice(1))));
    await file.close();
  }
});

test("the borders of rows do not depend on where the bytes are cut into pieces", () => {
  const random = seededRandom(4);
  const places = (indexer: Indexer, bytes: Uint8Array, cut: () => number) => {
    for (let at = 0; at < bytes.length; ) {
      const end = at + cut();
      indexer.push(bytes.subarray(at, end));
      at = end;
    }
    const index = indexer.finish();
    return Array.from({ length: index.count }, (_, row) => [index.start(row), index.end(row), index.line(row)]);
  };
  for (const [make, text] of [
    [() => lineIndexer(0), LINES],
    [() => arrayIndexer("f", 0), ARRAY],
    [() => delimitedIndexer(0x2c, 0), CSV],
  ] as const) {
    const bytes = Buffer.from(text);
    const whole = places(make(), bytes, () => bytes.length);
    expect(whole.length).toBeGreaterThan(2);
    for (let round = 0; round < 50; round++) expect(places(make(), bytes, () => 1 + random.integer(7))).toEqual(whole);
  }
});

describe("a large file that cannot be read is refused with its place", () => {
  const refused = async (name: string, text: string | Uint8Array, row?: number) => {
    const path = await write(name, text);
    const read = async () => {
      const file = await openRowFile(path);
      try {
        if (row !== undefined) file.parsed(row, (await file.texts([row]))[0]!);
      } finally {
        await file.close();
      }
    };
    const error = (await rejection(read())) as { what: string; where: string; code: string };
    return { ...error, where: error.where.replace(path, "FILE") };
  };

  test.each([
    ["open.json", '[{"a": 1}, {"a": ', undefined, "data-bad-json", "FILE", /array does not end/],
    ["behind.json", '[{"a": 1}] 2', undefined, "data-bad-json", "FILE", /goes on after its array/],
    ["comma.json", '[{"a": 1},]', 1, "data-bad-json", "FILE, item 2", /Not valid JSON/],
    ["broken.jsonl", '{"a": 1}\n\n{"a": }\n', 1, "data-bad-json", "FILE, line 3", /Not valid JSON/],
    ["number.jsonl", "1\n", 0, "data-bad-row", "FILE, line 1", /Expected an object, got a number/],
    ["short.csv", 'a,b\n"x\ny",1\nz\n', 1, "data-bad-csv", "FILE, line 4", /Expected 2 fields/],
    ["closed.csv", 'a,b\n1,2\n"x"y,1\n', 1, "data-bad-csv", "FILE, line 3, column 4", /closed and goes on/],
    ["twins.csv", "a,a\n1,2\n", undefined, "data-bad-csv", "FILE, line 1", /Two columns/],
    ["empty.csv", "a,b\n\n", undefined, "data-empty", "FILE", /empty/],
    ["empty.jsonl", "\n \n", undefined, "data-empty", "FILE", /empty/],
    ["latin.jsonl", Buffer.from('{"a": "\xe9"}', "latin1"), 0, "data-not-utf8", "FILE, line 1", /not UTF-8/],
    ["cut.jsonl.gz", gzipSync(LINES).subarray(0, 30), undefined, "data-unreadable", "FILE", /cannot be read/],
    ["no.parquet", "PAR1", undefined, "data-unreadable", "FILE", /Parquet file cannot be read/],
  ])("%s", async (name, text, row, code, where, what) => {
    expect(await refused(name, text, row)).toMatchObject({ code, where, what: expect.stringMatching(what) });
  });
});

test("a row longer than 32 bits can say is not recorded as a short one", () => {
  const index = new RowIndex();
  index.add(0, 2 ** 32 + 5, 1);
  expect(index.end(0)).toBe(2 ** 32 - 1);
});
