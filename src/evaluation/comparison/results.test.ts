import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { madeUpEvaluation } from "./evaluation.test-helper.ts";
import { meansGrid, tasksGrid } from "./grids.ts";
import { harnessResults, harnessSamples, saveResults } from "./results.ts";
import { markdownTables, terminalTable } from "./tables.ts";

const evaluation = madeUpEvaluation();

test("the best is marked among methods that do not use the test labels", () => {
  const { lines, columns } = meansGrid(evaluation);
  expect(columns).toEqual(["held in", "held out", "all tasks"]);
  expect(lines.map(({ name }) => name)).toEqual(["base", "merged", "multitask", "oracle", "phatgoose"]);
  columns.forEach((_, c) => {
    const best = lines.filter(({ cells }) => cells[c]!.best);
    expect(best.map(({ name }) => name)).not.toContain("oracle");
    const rivals = lines.filter(({ name }) => name !== "oracle").map(({ cells }) => cells[c]!.value);
    expect(best.every(({ cells }) => cells[c]!.value === Math.max(...rivals))).toBe(true);
    expect(best.length).toBeGreaterThan(0);
  });
  expect(tasksGrid(evaluation).lines.map(({ note }) => note)).toEqual(["held in", "held in", "held out", "held out"]);
});

test("Markdown rows have as many cells as their head", () => {
  const text = markdownTables(evaluation);
  for (const block of text.split("\n\n").filter((part) => part.startsWith("|"))) {
    const counts = block.split("\n").map((line) => line.replaceAll("\\|", "").split("|").length);
    expect(new Set(counts).size).toBe(1);
  }
  expect(text).toContain("## Single experts");
});

test("the terminal's columns line up, with and without colors", () => {
  const plain = terminalTable(evaluation, { colors: false }).split("\n");
  expect(plain).toHaveLength(6);
  const places = plain.slice(1).map((line) => line.indexOf("±"));
  expect(new Set(places).size).toBe(1);
  const colored = terminalTable(evaluation, { colors: true });
  const bare = stripVTControlCharacters(colored)
    .split("\n")
    .map((line) => line.trimEnd());
  expect(bare).toEqual(plain);
});

test("results and samples have the harness's keys", () => {
  const method = evaluation.methods[0]!;
  const results = harnessResults(evaluation, method);
  expect(results.results.choose).toEqual({
    alias: "choose",
    "accuracy,none": method.tasks.choose!.metrics.accuracy!.value,
    "accuracy_stderr,none": method.tasks.choose!.metrics.accuracy!.stderr,
  });
  expect(Object.keys(results)).toEqual(
    expect.arrayContaining([
      "group_subtasks",
      "configs",
      "versions",
      "n-shot",
      "higher_is_better",
      "n-samples",
      "config",
      "git_hash",
      "date",
    ]),
  );
  const [choice] = harnessSamples(evaluation.tasks[2]!, method.tasks.choose!.outcomes);
  expect(choice).toMatchObject({ doc_id: 0, target: "0", filter: "none", metrics: ["accuracy"] });
  expect(choice!.arguments).toMatchObject({ gen_args_2: { arg_0: "q 0", arg_1: "may|be" } });
  expect(choice!.resps).toHaveLength(3);
  const [text] = harnessSamples(evaluation.tasks[0]!, method.tasks.reverse!.outcomes);
  expect(text!.resps).toEqual([[method.tasks.reverse!.outcomes[0]!.text]]);
});

test("filtered text has a line for each filter, with that filter's answer and values", () => {
  const task = {
    ...evaluation.tasks[0]!,
    filters: [
      { name: "last", filters: [{ kind: "regex" as const, pattern: "\\S+", group: -1, fallback: "" }] },
      { name: "loud", filters: [{ kind: "uppercase" as const }] },
    ],
  };
  const outcomes = task.examples.map(() => ({
    text: "word 0",
    values: { "exact_match,last": 0, "exact_match,loud": 1, bits_per_byte: 3 },
  }));
  const [last, loud, next] = harnessSamples(task, outcomes);
  expect(last).toMatchObject({ doc_id: 0, filter: "last", filtered_resps: ["0"], resps: [["word 0"]], exact_match: 0, bits_per_byte: 3 });
  expect(loud).toMatchObject({
    doc_id: 0,
    filter: "loud",
    filtered_resps: ["WORD 0"],
    metrics: ["exact_match", "bits_per_byte"],
    exact_match: 1,
  });
  expect(next).toMatchObject({ doc_id: 1, filter: "last" });
});

test("two tasks never share a file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "skein-results-"));
  const [first, second] = evaluation.tasks;
  const tasks = [
    { ...first!, name: "a+b" },
    { ...second!, name: "a b" },
  ];
  const methods = evaluation.methods.map((method) => ({
    ...method,
    tasks: { "a+b": method.tasks[first!.name]!, "a b": method.tasks[second!.name]! },
  }));
  const files = await saveResults(folder, { ...evaluation, tasks, methods });
  expect(new Set(files).size).toBe(files.length);
  const samples = files.filter((file) => file.endsWith(".jsonl"));
  expect(samples).toHaveLength(2 * methods.length);
  const docs = await Promise.all(samples.slice(0, 2).map(async (file) => JSON.parse((await readFile(file, "utf8")).split("\n")[0]!).doc));
  expect(docs).toEqual([first!.examples[0], second!.examples[0]]);
  await rm(folder, { recursive: true });
});

test("everything is written below one folder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "skein-results-"));
  const files = await saveResults(folder, evaluation);
  expect(files.filter((file) => file.endsWith(".jsonl"))).toHaveLength(8 * 4);
  const ours = JSON.parse(await readFile(join(folder, "results.json"), "utf8"));
  expect(ours.methods[0].means).toEqual(evaluation.methods[0]!.means);
  expect(ours.methods[0].tasks.reverse.outcomes).toBeUndefined();
  const samples = files.find((file) => basename(file).startsWith("samples_reverse_then_sort"))!;
  expect((await readFile(samples, "utf8")).trimEnd().split("\n")).toHaveLength(20);
  await rm(folder, { recursive: true });
});
