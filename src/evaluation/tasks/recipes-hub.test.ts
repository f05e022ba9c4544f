import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FakeHub } from "../../../tests/fake-hub.ts";
import { temporaryFolder } from "../../../tests/temporary-folder.ts";
import { type BenchmarkTask, readBenchmarkRecipe } from "./benchmark.ts";
import { hubDatasets } from "./hub-data.ts";
import { readTasks } from "./read-task.ts";

// The benchmarks of recipes/ with a few rows per dataset, in the layout of their repositories on the hub.

const { folder, write } = temporaryFolder();
const hub = new FakeHub();
beforeAll(async () => void (await hub.start()));
afterAll(() => hub.stop());
const recipe = (name: string) => fileURLToPath(new URL(`../../../recipes/benchmarks/${name}.yaml`, import.meta.url));
const read = (name: string) =>
  readTasks(recipe(name), {
    dataFolder: folder,
    elsewhere: hubDatasets({ env: { HF_HOME: `${folder}/home`, HF_ENDPOINT: hub.url } }),
  });
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** Two rows {input, target} with the answers False and True. */
const PARQUET = Buffer.from(
  "UEFSMRUGFVIVUlwVBBUAFQQVABUEFQAAAAMDDwAAAG5vdCAoIFRydWUgKSBpcxAAAABUcnVlIGFuZCBUcnVlIGlzFQYVJhUmXBUEFQAVBBUAFQQVAAAAAwMFAAAARmFsc2UEAAAAVHJ1ZRUEGTxIBHJvb3QVBAAVDCUCGAVpbnB1dCUAABUMJQIYBnRhcmdldCUAABYEGRwZLCYIHBUMGRUAGRgFaW5wdXQVABYEFnwWfCYIAAAmhAEcFQwZFQAZGAZ0YXJnZXQVABYEFlAWUCaEAQAAFswBFgQ2zAEAKAloeXBhcnF1ZXQZLBwAABwAAACIAAAAUEFSMQ==",
  "base64",
);

/** tasksource/bigbench: one folder per configuration, listed in the card. */
function publishBigBench(tasks: readonly BenchmarkTask[]): void {
  const row = (config: string, text: string) => ({
    inputs: `${config} ${text}`,
    targets: ["yes"],
    multiple_choice_targets: ["no", "yes"],
    multiple_choice_scores: [0, 1],
    idx: 0,
  });
  const configs = tasks.filter(({ dataset }) => dataset === "tasksource/bigbench").map(({ config }) => config!);
  const files = configs.flatMap((config) => [
    [`${config}/train-00000-of-00001.jsonl`, lines([row(config, "first"), row(config, "second")])],
    [`${config}/validation-00000-of-00001.jsonl`, lines([row(config, "third")])],
  ]);
  const card = configs.map(
    (config) =>
      `- config_name: ${config}\n  data_files:\n  - split: train\n    path: ${config}/train-*\n  - split: validation\n    path: ${config}/validation-*\n`,
  );
  hub.add("datasets/tasksource/bigbench", { "README.md": `---\nconfigs:\n${card.join("")}---\n`, ...Object.fromEntries(files) });
}

test.each(["bbh", "bbl"])("%s runs from the hub, train before validation", async (name) => {
  const { tasks } = await readBenchmarkRecipe(recipe(name));
  publishBigBench(tasks);
  const bbh = ["boolean_expressions", "web_of_lies", "multistep_arithmetic_two"];
  hub.add("datasets/lukaemon/bbh", { "bbh.py": "script", "README.md": "# BBH" });
  hub.add("datasets/lukaemon/bbh", Object.fromEntries(bbh.map((config) => [`${config}/test/0000.parquet`, PARQUET])), {
    revision: "refs/convert/parquet",
  });
  const loaded = await read(name);
  expect(loaded.map((task) => task.name)).toEqual(tasks.map((task) => task.name));
  for (const [i, { examples }] of loaded.entries()) {
    const { dataset, config } = tasks[i]!;
    const expected =
      dataset === "lukaemon/bbh" ? ["not ( True ) is", "True and True is"] : ["first", "second", "third"].map((t) => `${config} ${t}`);
    expect(examples.map(({ input }) => input)).toEqual(expected.map((text) => `${text}\nAnswer:`));
  }
});

test("t0ho runs from the hub, its old names forwarded, prompts and Story Cloze from a folder", async () => {
  const { tasks } = await readBenchmarkRecipe(recipe("t0ho"));
  const data = lines([{ text: "a", label: 0 }]);
  const glue = ["rte", "copa", "wic", "cb", "wsc.fixed"].map((config) => [`${config}/validation-00000-of-00001.jsonl`, data]);
  const card = (configs: readonly string[]) =>
    `---\nconfigs:\n${configs.map((name) => `- config_name: ${name}\n  data_files:\n  - split: validation\n    path: ${name}/validation-*\n`).join("")}---\n`;
  hub.add("datasets/aps/super_glue", { "README.md": card(["cb", "copa", "rte", "wic", "wsc.fixed"]), ...Object.fromEntries(glue) });
  hub.add("datasets/Rowan/hellaswag", { "data/validation-00000-of-00001.jsonl": data, "data/train-00000-of-00001.jsonl": data });
  hub.add("datasets/allenai/winogrande", { "README.md": card(["winogrande_xl"]), "winogrande_xl/validation-00000-of-00001.jsonl": data });
  const rounds = ["dev_r1", "dev_r2", "dev_r3"].map((split) => [
    `plain_text/${split}-00000-of-00001.jsonl`,
    lines([{ text: split, label: 0 }]),
  ]);
  hub.add("datasets/facebook/anli", Object.fromEntries(rounds));
  for (const name of ["aps/super_glue", "Rowan/hellaswag", "allenai/winogrande", "facebook/anli"]) {
    hub.forwards.set(`datasets/${name.split("/")[1]}`, `datasets/${name}`);
  }
  await write("story_cloze/2016/test.jsonl", data);
  for (const { reader } of tasks) {
    if (reader.kind !== "promptsource") throw new Error("a promptsource reader was expected");
    const names = [...Array(reader.count).keys()].map((i) => `t${String(i).padStart(2, "0")}`);
    const entries = [...names, ...reader.ignore].map(
      (name, i) =>
        `  id${i}:\n    name: ${JSON.stringify(name)}\n    jinja: "{{ text }} ||| {{ answer_choices[label] }}"\n    answer_choices: yes ||| no\n    metadata: { original_task: true }\n`,
    );
    await write(`promptsource/${reader.templates}/templates.yaml`, `templates:\n${entries.join("")}`);
  }
  const loaded = await read("t0ho");
  expect(loaded.map(({ examples }) => examples.length)).toEqual([10, 4, 8, 10, 5, 15, 5, 15, 15, 15, 10]);
  expect(loaded.slice(7, 10).map(({ examples }) => examples[0]!.input)).toEqual(["dev_r1", "dev_r2", "dev_r3"]);
  expect(loaded.every(({ maxInputTokens }) => maxInputTokens === 512)).toBe(true);
});
