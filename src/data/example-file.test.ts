import { expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../tests/temporary-folder.ts";
import { DataError } from "../base/errors.ts";
import { type ExampleFile, type OpenOptions, openTrainingExamples, type PlacedExample } from "./example-file.ts";
import { readTrainingExamples } from "./training-data.ts";

const { write } = temporaryFolder();
const lines = (rows: readonly unknown[]) => rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n");
const pair = { input: "i", target: "t" };

async function large(path: string, options: OpenOptions = {}): Promise<ExampleFile> {
  const file = await openTrainingExamples(path, { largeFrom: 0, ...options });
  if (!("close" in file)) throw new Error("read whole");
  return file;
}
const accept = () => {};

test("a small file is read whole, a large one row by row, with the same examples", async () => {
  const rows = Array.from({ length: 50 }, (_, i) => ({ input: `${i}`, target: `t${i}` }));
  const path = await write("pairs.jsonl", lines(rows));
  expect(await openTrainingExamples(path)).toEqual(await readTrainingExamples(path));
  await using file = await large(path);
  expect(file.count).toBe(50);
  const found = await file.examples([...rows.keys()]);
  expect(found.map(({ example }) => example)).toEqual(await readTrainingExamples(path));
  expect(found[7]!.where).toBe(`${path}, line 8`);
});

test("the check goes on where it stopped, and reports unused fields once at its end", async () => {
  const path = await write("notes.jsonl", lines(Array(2500).fill({ ...pair, topic: 1 })));
  const warnings: string[] = [];
  await using file = await large(path, { onWarning: (warning) => warnings.push(warning) });
  let slices = 1;
  while (!(await file.check(accept, 0.001))) slices++;
  expect(slices).toBeGreaterThan(2);
  expect(await file.check(accept)).toBe(true);
  expect(warnings).toEqual([`${path}: Fields that are not used are skipped: topic (rows: 2500).`]);
});

test("one error names every bad row: those that cannot be read, those without an answer, those a model refuses", async () => {
  const rows: unknown[] = Array(3000).fill(pair);
  for (const line of [5, 2999]) rows[line - 1] = '{"input": ';
  for (const line of [7, 8]) rows[line - 1] = { input: "i", target: " " };
  rows[1499] = { text: "no pair" };
  await using file = await large(await write("bad.jsonl", lines(rows)));
  const noText = ({ example, where }: PlacedExample) => {
    if (example.kind !== "text") return;
    throw new DataError({ code: "data-not-for-encoder-decoder", what: "No plain text.", where, fix: "Write pairs." });
  };
  expect(await rejection(file.check(noText, 0.001))).toMatchObject({
    code: "data-bad-json",
    where: `${file.path}, line 5`,
    what: expect.stringMatching(
      /^Not valid JSON: .* 2 more rows have problems: line 1500, line 2999\. 2 rows have no answer: line 7, line 8\.$/,
    ),
  });
});

test("rows without an answer alone give the error of a small file", async () => {
  const row = { input: "i", target: "" };
  const path = await write("empty.jsonl", lines([pair, row, ...Array(40).fill(row)]));
  const small = await rejection(readTrainingExamples(path));
  await using file = await large(path);
  const { what, where, fix, code } = (await rejection(file.check(accept))) as Record<string, unknown>;
  expect({ what, where, fix, code }).toMatchObject({
    what: (small as { what: string }).what,
    where: (small as { where: string }).where,
    fix: (small as { fix: string }).fix,
    code: "data-empty-answer",
  });
});

test("a file of more than one format keeps its rows, and progress comes from the first byte", async () => {
  const progress: unknown[] = [];
  const path = await write("two.jsonl", lines([pair, { prompt: "p", completion: "c" }]));
  await using file = await large(path, { onProgress: (state) => progress.push(state) });
  const size = lines([pair, { prompt: "p", completion: "c" }]).length;
  expect(progress).toEqual([
    { part: "read", done: 0, total: size },
    { part: "read", done: size, total: size },
  ]);
  await file.check(accept);
  expect(progress.at(-1)).toEqual({ part: "check", done: 2, total: 2 });
  expect((await file.examples([1, 0])).map(({ example }) => example.kind)).toEqual(["pair", "pair"]);
});
