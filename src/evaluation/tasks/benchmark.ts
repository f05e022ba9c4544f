/** @file Benchmarks: lists of tasks with one score, written as YAML under recipes/benchmarks.
 *
 *    name: bbh                       # shown in reports
 *    description: ...                # what it is and whose protocol
 *    defaults: { ... }               # any field of a task, for all tasks
 *    tasks:
 *      - name: navigate
 *        dataset: tasksource/bigbench    # Hub id; looked for in the data folder, then on the Hub
 *        config: navigate                # configuration of the dataset, if it has several
 *        revision: main                  # branch, tag or commit on the Hub
 *        splits: [train, validation]     # concatenated
 *        reader: { kind: bigbench }      # jsonl | bbh | bigbench | p3 | promptsource
 *        task: multiple_choice           # or generate_until
 *        metrics: [accuracy]
 *        maxTokens: 7                    # new tokens, for generate_until
 *        maxInputTokens: 512
 *
 *  The benchmark's score is the plain mean over tasks of the mean of a task's metrics. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { DataError, messageOf } from "../../base/errors.ts";
import type { Row } from "../../data/row.ts";
import { readRows, readUtf8 } from "../../data/rows.ts";
import { bbhExamples, readBbhRows } from "./bbh.ts";
import { bigBenchExamples } from "./bigbench.ts";
import { type DataSources, findDataFiles } from "./find-data.ts";
import { jsonlExamples } from "./jsonl.ts";
import { p3Examples } from "./p3.ts";
import { promptExamples, readPromptTemplates, selectTemplates } from "./promptsource.ts";
import type { Example, Task } from "./task.ts";

const readerSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("jsonl") }),
  z.strictObject({ kind: z.literal("p3") }),
  z.strictObject({ kind: z.literal("bigbench"), suffix: z.string().default("\nAnswer:") }),
  z.strictObject({ kind: z.literal("bbh"), suffix: z.string().default("\nAnswer:"), choices: z.array(z.string()).optional() }),
  z.strictObject({
    kind: z.literal("promptsource"),
    /** Path of the templates below promptsource/, such as super_glue/rte. */
    templates: z.string(),
    ignore: z.array(z.string()).default([]),
    /** The protocol's number of templates; any other number is an error. */
    count: z.int().min(1),
  }),
]);
type Reader = z.infer<typeof readerSchema>;

const taskSchema = z.strictObject({
  name: z.string(),
  dataset: z.string(),
  config: z.string().optional(),
  revision: z.string().optional(),
  splits: z.array(z.string()).min(1),
  reader: readerSchema,
  task: z.enum(["multiple_choice", "generate_until"]).default("multiple_choice"),
  metrics: z.array(z.string()).min(1).default(["accuracy"]),
  maxTokens: z.int().min(1).optional(),
  maxInputTokens: z.int().min(1).optional(),
});
export type BenchmarkTask = z.infer<typeof taskSchema>;

const recipeSchema = z.strictObject({
  name: z.string(),
  description: z.string(),
  defaults: z.record(z.string(), z.unknown()).default({}),
  tasks: z.array(z.record(z.string(), z.unknown())).min(1),
});

export interface BenchmarkRecipe {
  readonly name: string;
  readonly description: string;
  readonly tasks: readonly BenchmarkTask[];
}

/** The checked contents of a benchmark's YAML. */
export async function readBenchmarkRecipe(path: string): Promise<BenchmarkRecipe> {
  try {
    const { name, description, defaults, tasks } = recipeSchema.parse(parse(await readUtf8(path)));
    return { name, description, tasks: z.array(taskSchema).parse(tasks.map((task) => ({ ...defaults, ...task }))) };
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const detail = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new DataError({
      code: "task-bad-file",
      what: `Not a benchmark recipe. ${detail}`,
      where: path,
      fix: "Compare with recipes/benchmarks/bbh.yaml.",
      cause,
    });
  }
}

/** All tasks of a benchmark, with data from `sources`. The first missing dataset is an error that says where to put it. */
export async function loadBenchmark(path: string, sources: DataSources): Promise<Task[]> {
  const { tasks } = await readBenchmarkRecipe(path);
  const loaded: Task[] = [];
  for (const task of tasks) loaded.push(await loadBenchmarkTask(task, sources));
  return loaded;
}

/** One task of a benchmark, with data from `sources`. */
export async function loadBenchmarkTask(task: BenchmarkTask, sources: DataSources): Promise<Task> {
  const { name, dataset, config, revision, splits, task: kind, metrics, maxTokens, maxInputTokens, reader } = task;
  const files = await findDataFiles({ dataset, config, revision, splits }, sources);
  const rows = (await Promise.all(files.map(reader.kind === "bbh" ? readBbhRows : readRows))).flat();
  const examples = await readExamplesOf(reader, rows, sources);
  const bad = kind === "multiple_choice" ? examples.findIndex((example) => !example.choices) : -1;
  if (bad >= 0) {
    const fix = "Use the dataset that the recipe names, with its choices.";
    throw new DataError({ code: "task-bad-choices", what: `Example ${bad + 1} of ${name} has no choices.`, where: files.join(", "), fix });
  }
  return {
    name,
    kind,
    examples,
    metrics,
    choiceScore: "token_mean",
    targetDelimiter: "",
    ...(kind === "generate_until" && { generation: { until: [], maxTokens: maxTokens ?? 128 } }),
    ...(maxInputTokens !== undefined && { maxInputTokens }),
  };
}

async function readExamplesOf(reader: Reader, rows: readonly Row[], { folders }: DataSources): Promise<Example[]> {
  switch (reader.kind) {
    case "jsonl":
      return jsonlExamples(rows);
    case "p3":
      return p3Examples(rows);
    case "bigbench":
      return bigBenchExamples(rows, reader.suffix);
    case "bbh":
      return bbhExamples(rows, { suffix: reader.suffix, ...(reader.choices && { choices: reader.choices }) });
    case "promptsource":
      return promptExamples(rows, await templatesOf(reader, folders));
  }
}

async function templatesOf({ templates, ignore, count }: Extract<Reader, { kind: "promptsource" }>, folders: readonly string[]) {
  const paths = folders.map((folder) => join(folder, "promptsource", templates, "templates.yaml"));
  const path = paths.find(existsSync) ?? paths[0] ?? templates;
  const all = await readPromptTemplates(path).catch((cause: unknown) => {
    const fix = `Copy promptsource/templates from github.com/bigscience-workshop/promptsource to ${join(folders[0] ?? "data", "promptsource")}.`;
    throw new DataError({
      code: "dataset-files-missing",
      what: `The prompt templates cannot be read: ${messageOf(cause)}`,
      where: path,
      fix,
      cause,
    });
  });
  const chosen = selectTemplates(all, { ignore });
  if (chosen.length === count) return chosen;
  const fix = "Use the version of promptsource that T0's evaluation used (0.2), or change count in the recipe.";
  throw new DataError({
    code: "task-bad-file",
    what: `The protocol has ${count} templates, this file gives ${chosen.length}.`,
    where: path,
    fix,
  });
}
