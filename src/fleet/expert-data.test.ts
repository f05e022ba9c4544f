/** @file Examples of experts from the Hub, served here: FLAN's form read by ranges, P3's prepared text, and groups of tasks. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { FakeHub } from "../../tests/fake-hub.ts";
import { expertExamples } from "./expert-data.ts";
import { readPoolRecipe } from "./recipe-file.ts";
import type { Source } from "./recipe-schema.ts";

let folder: string;
let hub: FakeHub;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-expert-data-"));
});
beforeEach(async () => {
  hub = new FakeHub();
  await hub.start();
  return () => hub.stop();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let homes = 0;
function examples(source: Source, use: "training" | "validation" = "training", warnings: string[] = []) {
  const env = { HF_HOME: join(folder, `home-${++homes}`), HF_ENDPOINT: hub.url };
  return expertExamples(source, use, {
    dataFolder: join(folder, "data"),
    seed: 1,
    where: "pool.yaml, line 3",
    env,
    onWarning: (message) => warnings.push(message),
  });
}

/** A Parquet file of these rows, fifty to a group. */
function parquet(rows: readonly Readonly<Record<string, string>>[]): Buffer {
  const columnData = Object.keys(rows[0]!).map((name) => ({ name, data: rows.map((row) => row[name]!), type: "STRING" as const }));
  return Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 50 }));
}

/** A text that no compression shortens much. */
const noise = (seed: number) =>
  Array.from({ length: 300 }, (_, j) => createHash("sha256").update(`${seed} ${j}`).digest("base64")).join("");

const flanRows = (first: number) =>
  Array.from({ length: 200 }, (_, i) => ({
    inputs: `question ${first + i} ${noise(first + i)}`,
    targets: `answer ${first + i}`,
    _task_name: `task-${Math.floor((first + i) / 50)}`,
  }));

test("rows of a task are read by ranges, and no further than asked for", async () => {
  const parts = [parquet(flanRows(0)), parquet(flanRows(200))];
  hub.add("datasets/Open-Orca/FLAN", {
    "zs_data/part.0.parquet": parts[0]!,
    "zs_data/part.1.parquet": parts[1]!,
    "other/part.parquet": parts[0]!,
  });
  const source = { dataset: "Open-Orca/FLAN", folders: ["zs_data"], where: { _task_name: "task-2" }, limit: 10 };
  const found = await examples(source);
  expect(found).toHaveLength(10);
  expect(found[0]).toMatchObject({ kind: "pair", input: expect.stringMatching(/^question 100 /), target: "answer 100" });
  expect(hub.sent).toBeLessThan(parts[0]!.length); // of one file, and not the whole of it
  expect(hub.fetched.every((path) => path === "zs_data/part.0.parquet")).toBe(true);
  hub.sent = 0;
  expect(await examples({ ...source, where: { _task_name: ["task-1", "task-6"] }, limit: 90 })).toHaveLength(90);
  expect(hub.sent).toBeLessThan(parts[0]!.length + parts[1]!.length);
});

test("a task, a folder and a dataset that are not there are told with the recipe's line", async () => {
  hub.add("datasets/Open-Orca/FLAN", { "zs_data/part.0.parquet": parquet(flanRows(0)) });
  const source = { dataset: "Open-Orca/FLAN", folders: ["zs_data"], where: { _task_name: "task-9" } };
  await expect(examples(source)).rejects.toThrow(/No row has _task_name task-9\.[\s\S]*pool\.yaml, line 3/);
  await expect(examples({ ...source, folders: ["zs_dat"] })).rejects.toThrow(/no folder "zs_dat"[\s\S]*Nearest: zs_data/);
  await expect(examples({ ...source, dataset: "Open-Orca/FLAM" })).rejects.toThrow(/pool\.yaml, line 3/);
});

test("P3's prepared text: one configuration for each template, without those for scoring or left out", async () => {
  const text = (template: string, split: string) =>
    parquet(
      [0, 1, 2].map((i) => ({ inputs_pretokenized: `${template} ${split} ${i} `, targets_pretokenized: i === 2 ? "" : ` yes ${i}` })),
    );
  const configs = [
    "glue_mrpc_want_to_know",
    "glue_mrpc_replace",
    "glue_mrpc_equivalent",
    "glue_mrpc_equivalent_score_eval",
    "glue_qqp_same_thing",
  ];
  const files = configs.flatMap((config) =>
    ["train", "validation"].map((split) => [`${config}/${split}/0000.parquet`, text(config, split)]),
  );
  hub.add("datasets/bigscience/P3", Object.fromEntries(files), { revision: "refs/convert/parquet" });
  const source: Source = { dataset: "glue", config: "mrpc", templates: { from: "p3", path: "glue/mrpc", ignore: ["want to know"] } };
  const warnings: string[] = [];
  const inputs = (await examples(source, "training", warnings)).map((example) => (example as { input: string }).input);
  expect(inputs.sort()).toEqual([
    "glue_mrpc_equivalent train 0",
    "glue_mrpc_equivalent train 1",
    "glue_mrpc_replace train 0",
    "glue_mrpc_replace train 1",
  ]);
  expect(warnings).toEqual(["2 rows have no target, and were left out."]);
  const selecting = await examples({ ...source, split: "validation", templates: { ...source.templates, only: ["replace"], ignore: [] } });
  expect(selecting).toEqual([
    { kind: "pair", input: "glue_mrpc_replace validation 0", target: "yes 0" },
    { kind: "pair", input: "glue_mrpc_replace validation 1", target: "yes 1" },
  ]);
  await expect(examples({ ...source, templates: { from: "p3", path: "glue/mrpcc" } })).rejects.toThrow(/no prepared dataset "glue\/mrpcc"/);
});

test("categories of Natural Instructions become groups, and a recipe's expert takes the tasks of its own", async () => {
  const tasks = join(folder, "tasks");
  await mkdir(tasks, { recursive: true });
  const task = (name: string, category: string) =>
    writeFile(join(tasks, `${name}.json`), JSON.stringify({ Categories: [category], Definition: ["x"] }));
  await task("task001_quoref", "Question Answering");
  await task("task002_other", "Title Generation");
  await task("task003_more", "Question Answering");
  const groups = join(folder, "niv2.json");
  const script = fileURLToPath(new URL("../../scripts/niv2-categories.mjs", import.meta.url));
  execFileSync(process.execPath, [script, tasks, groups]);
  const [name = ""] = Object.keys(JSON.parse(await readFile(groups, "utf8")) as object).filter((key) => /question/i.test(key));
  const recipe = join(folder, "pool.yaml");
  await writeFile(
    recipe,
    `name: x\nbase: base\ngroups: niv2.json\nexperts:\n  - { name: qa, dataset: d, where: { _task_name: "" }, group: ${JSON.stringify(name)} }\n`,
  );
  const [expert] = (await readPoolRecipe(recipe)).experts;
  const wanted = expert!.source.where!._task_name as readonly string[];
  expect(wanted.filter((one) => one.includes("task001")).length).toBeGreaterThan(0);
  expect(wanted.some((one) => one.includes("task002"))).toBe(false);
});
