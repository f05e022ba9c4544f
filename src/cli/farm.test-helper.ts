/** @file A folder with a tiny base, data and a dataset with templates, from which recipes make pools in seconds. */

import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";

export interface FarmFolder extends AsyncDisposable {
  /** The path of a name in the folder. */
  at(name: string): string;
  /** Writes a recipe and gives its path. */
  recipe(name: string, text: string): Promise<string>;
}

const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join("\n");

export async function farmFolder(): Promise<FarmFolder> {
  const folder = await mkdtemp(join(tmpdir(), "skein-farm-"));
  const at = (name: string) => join(folder, name);
  await cp(golden("t5/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), ["red", "green", "blue", "one", "two", "three"], { appendEnd: true });
  const pairs = (targets: readonly string[]) => ["red", "green", "blue"].map((input, i) => ({ input, target: targets[i]! }));
  await writeFile(at("up.jsonl"), lines(pairs(["one", "two", "three"])));
  await writeFile(at("down.jsonl"), lines(pairs(["three", "two", "one"])));
  await writeColors(at);
  await writeFlan(at);
  return {
    at,
    async recipe(name, text) {
      await writeFile(at(name), text);
      return at(name);
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A dataset with templates, as it lies in a data folder. */
async function writeColors(at: FarmFolder["at"]): Promise<void> {
  await mkdir(at("data/colors"), { recursive: true });
  const labeled = ["red", "green", "blue", "red"].map((color, label) => ({ color, label: label % 3 }));
  await writeFile(at("data/colors/train.jsonl"), lines(labeled));
  await writeFile(at("data/colors/validation.jsonl"), lines(labeled.slice(0, 2)));
  await mkdir(at("data/promptsource/colors"), { recursive: true });
  const template = (name: string, jinja: string) =>
    `  ${name}:\n    name: ${name}\n    jinja: '${jinja}'\n    answer_choices: one ||| two ||| three\n    metadata: { original_task: true }\n`;
  const templates = [
    template("number", "{{color}} ||| {{answer_choices[label]}}"),
    template("again", "{{color}} {{color}} ||| {{answer_choices[label]}}"),
  ];
  await writeFile(at("data/promptsource/colors/templates.yaml"), `dataset: colors\ntemplates:\n${templates.join("")}`);
}

/** A dataset of FLAN's form. */
async function writeFlan(at: FarmFolder["at"]): Promise<void> {
  await mkdir(at("data/flan/zs_data"), { recursive: true });
  const rows = Array.from({ length: 12 }, (_, i) => ({
    inputs: ["red", "blue"][i % 2],
    targets: ["one", "two"][i % 2],
    _task_name: `task-${i % 3}`,
  }));
  for (const part of [0, 1]) await writeFile(at(`data/flan/zs_data/part.${part}.jsonl`), lines(rows.slice(6 * part, 6 * part + 6)));
}

export const HEAD = `name: colors
base: base
data: data
seed: 3
training: { steps: 6, batchSize: 4, microBatchSize: 2, rank: 2, dropout: 0, maxLength: 16, validateEvery: 3, saveEvery: 1 }
gates: { steps: 4, saveEvery: 1 }
statistics: { examples: 3 }
experts:
`;
export const EXPERTS = `  - { name: up, files: [up.jsonl], validation: { files: [up.jsonl] } }
  - name: colors
    dataset: colors
    templates: { path: colors, ignore: [again] }
    validation: { split: validation, templates: { roundRobin: true } }
`;
export const FLAN = (task: string) => `  - name: flan
    dataset: flan
    folders: [zs_data]
    where: { _task_name: ${task} }
    limit: 3
    holdout: 1
    gates: false
`;
