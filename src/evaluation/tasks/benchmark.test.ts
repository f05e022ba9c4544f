import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../../tests/temporary-folder.ts";
import { loadBenchmark, loadBenchmarkTask, readBenchmarkRecipe } from "./benchmark.ts";
import { findDataFiles } from "./find-data.ts";
import { promptExamples, readPromptTemplates, selectTemplates } from "./promptsource.ts";

const { folder, write } = temporaryFolder();
const recipe = (name: string) => fileURLToPath(new URL(`../../../recipes/benchmarks/${name}.yaml`, import.meta.url));
const template = (name: string, jinja: string, rest = "") =>
  `  ${name}-id: !Template\n    name: ${name}\n    jinja: ${JSON.stringify(jinja)}\n    answer_choices: yes ||| no\n    reference: ''\n    metadata: !TemplateMetadata\n      original_task: true\n${rest}`;
const templates = `dataset: d\ntemplates:\n${template("b", "{{ text }}? ||| {{ answer_choices[label] }}")}${template("a", "{% if label == 0 %}Is {{ text }} ||| yes{% endif %}")}${template("C", "{{ text }} ||| no").replace("original_task: true", "original_task: false")}`;

describe("the authors' benchmarks", () => {
  test.each([
    ["t0ho", 11],
    ["bbh", 22],
    ["bbl", 17],
  ])("%s has %d tasks", async (name, count) => {
    const { tasks } = await readBenchmarkRecipe(recipe(name));
    expect(new Set(tasks.map((task) => task.name)).size).toBe(count);
  });

  test("every generated task says how long, and nothing else does", async () => {
    for (const name of ["t0ho", "bbh", "bbl"]) {
      for (const task of (await readBenchmarkRecipe(recipe(name))).tasks) {
        expect(task.maxTokens !== undefined, task.name).toBe(task.task === "generate_until");
      }
    }
  });

  test("T0's held-out tasks use 112 templates in all", async () => {
    const { tasks } = await readBenchmarkRecipe(recipe("t0ho"));
    const counts = tasks.map(({ reader }) => (reader.kind === "promptsource" ? reader.count : 0));
    expect(counts.reduce((a, b) => a + b)).toBe(10 + 4 + 8 + 10 + 5 + 15 + 5 + 3 * 15 + 10);
  });

  test("a missing dataset is an error that says where to put it", async () => {
    expect(await rejection(loadBenchmark(recipe("bbl"), { folders: [join(folder, "empty")] }))).toMatchObject({
      name: "DataError",
      what: expect.stringContaining("tasksource/bigbench"),
      fix: expect.stringContaining(join(folder, "empty", "tasksource/bigbench", "bbq_lite_json")),
    });
  });

  test("a task is loaded from the files it names", async () => {
    await write("d1/lukaemon/bbh/web_of_lies/test.jsonl", '{"input": "Lies?", "target": "No"}\n');
    const { tasks } = await readBenchmarkRecipe(recipe("bbh"));
    const task = tasks.find(({ name }) => name === "web_of_lies")!;
    expect(await loadBenchmarkTask(task, { folders: [join(folder, "d1")] })).toMatchObject({
      kind: "multiple_choice",
      metrics: ["accuracy"],
      choiceScore: "token_mean",
      maxInputTokens: 512,
      examples: [{ input: "Lies?\nAnswer:", target: "No", choices: ["Yes", "No"], label: 1 }],
    });
  });
});

describe("promptsource", () => {
  test("every row meets every original-task template, in the order of names", async () => {
    const path = await write("promptsource/d/templates.yaml", templates);
    const chosen = selectTemplates(await readPromptTemplates(path));
    const rows = [
      { value: { text: "A|||B", label: 0 }, where: "r1" },
      { value: { text: "x", label: 1 }, where: "r2" },
    ];
    expect(promptExamples(rows, chosen)).toEqual([
      { input: "Is A|||B", target: "yes", choices: ["yes", "no"], label: 0, labels: [0], id: "0/a" },
      { input: "A|||B?", target: "yes", choices: ["yes", "no"], label: 0, labels: [0], id: "0/b" },
      { input: "<NO INPUT>", target: "<NO INPUT>", choices: ["yes", "no"], id: "1/a" },
      { input: "x?", target: "no", choices: ["yes", "no"], label: 1, labels: [1], id: "1/b" },
    ]);
    expect(selectTemplates(await readPromptTemplates(path), { originalTask: false, ignore: ["b"] }).map(({ name }) => name)).toEqual([
      "C",
      "a",
    ]);
  });

  test("long values are cut to 2048 characters at a blank", async () => {
    const [, template] = selectTemplates(await readPromptTemplates(await write("promptsource/e/templates.yaml", templates)));
    const example = template!.apply({ value: { text: "word ".repeat(600), label: 0 }, where: "r" });
    expect(example.input).toBe(`${"word ".repeat(409).trim()}...?`);
  });
});

describe("finding data", () => {
  const find = (root: string, config?: string, splits = ["train"]) =>
    findDataFiles({ dataset: "org/set", config, splits }, { folders: [join(folder, root)] }).then((files) =>
      files.map((file) => file.slice(join(folder, root).length + 1)),
    );

  test("in a Hugging Face cache, at the revision of main", async () => {
    await write("hf/datasets--org--set/refs/main", "a".repeat(40));
    await write(`hf/datasets--org--set/snapshots/${"a".repeat(40)}/cfg/train-00000-of-00002.parquet`, "");
    await write(`hf/datasets--org--set/snapshots/${"a".repeat(40)}/cfg/train-00001-of-00002.parquet`, "");
    await write("hf/datasets--org--set/snapshots/bbb/cfg/train.parquet", "");
    const at = `datasets--org--set/snapshots/${"a".repeat(40)}/cfg/train-0000`;
    expect(await find("hf", "cfg")).toEqual([`${at}0-of-00002.parquet`, `${at}1-of-00002.parquet`]);
  });

  test("splits are joined in the order asked for, and other configurations are left alone", async () => {
    await write("plain/org/set/cfg/validation.jsonl", "");
    await write("plain/org/set/cfg/train.jsonl", "");
    await write("plain/org/set/cfg_other/train.jsonl", "");
    expect(await find("plain", "cfg", ["train", "validation"])).toEqual(["org/set/cfg/train.jsonl", "org/set/cfg/validation.jsonl"]);
    await expect(find("plain", "cfg", ["train", "test"])).rejects.toThrow(/was not found/);
    await expect(find("plain")).rejects.toThrow(/was not found/);
  });

  test("a file beside others is a dataset's only if it is called so", async () => {
    await write("beside/other/test.jsonl", "");
    await write("beside/test.jsonl", "");
    await expect(find("beside", undefined, ["test"])).rejects.toThrow(/was not found/);
    await write("beside/set_test.jsonl", "");
    expect(await find("beside", undefined, ["test"])).toEqual(["set_test.jsonl"]);
  });

  test("in the Parquet copy of a cache", async () => {
    await write("copy/datasets--org--set/refs/main", "a".repeat(40));
    await write(`copy/datasets--org--set/snapshots/${"a".repeat(40)}/README.md`, "");
    await write("copy/datasets--org--set/refs/refs/convert/parquet", "c".repeat(40));
    await write(`copy/datasets--org--set/snapshots/${"c".repeat(40)}/cfg/train/0000.parquet`, "");
    expect(await find("copy", "cfg")).toEqual([`datasets--org--set/snapshots/${"c".repeat(40)}/cfg/train/0000.parquet`]);
  });

  test("a file without split in its name is the whole dataset", async () => {
    await write("files/web_of_lies.json", "");
    await write("files/web_of_lies_2.json", "");
    expect(await find("files", "web_of_lies", ["test"])).toEqual(["web_of_lies.json"]);
  });
});
