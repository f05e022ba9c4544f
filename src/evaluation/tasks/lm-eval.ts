/** @file Tasks written for lm-evaluation-harness: a YAML file with Jinja templates over the rows of a dataset.
 *
 *  Read: task, include, dataset_path, dataset_name, dataset_kwargs, *_split, output_type, doc_to_text, doc_to_target, doc_to_choice,
 *  description, target_delimiter, fewshot_delimiter, num_fewshot, metric_list, filter_list, generation_kwargs. A field with code
 *  (`!function`) is refused by name, and so is an unknown field that would change the task.
 *
 *    context = description + shots joined by fewshot_delimiter + doc_to_text(row)
 *    continuation = target_delimiter + choice or target
 *
 *  Few-shot examples with `sampler: first_n` are the same as the harness's. Otherwise they are drawn with another random
 *  generator, so the numbers differ from the harness's by that draw. Reference: docs/task_guide.md, api/task.py (v0.4). */

import { dirname } from "node:path";
import { DataError } from "../../base/errors.ts";
import { derivedSeed, seededRandom } from "../../base/random.ts";
import type { Row } from "../../data/row.ts";
import { readRows } from "../../data/rows.ts";
import { exactMatchFilters, parseFilterList } from "./filters.ts";
import { type DataSources, findDataFiles } from "./find-data.ts";
import { type LmEvalConfig, readLmEvalConfig } from "./lm-eval-config.ts";
import { type DocumentReader, documentReader } from "./lm-eval-document.ts";
import { DEFAULT_GENERATION, type Example, type Generation, type Task } from "./task.ts";

export interface LmEvalOptions {
  /** The source of its dataset (default: the YAML file's folder). */
  readonly sources?: DataSources;
  /** Overrides the file's num_fewshot. */
  readonly numFewshot?: number;
  /** Seed of the few-shot examples (default 1234, as in the harness). */
  readonly seed?: number;
}

/** The task of one YAML file and its data. */
export async function readLmEvalTask(path: string, options: LmEvalOptions = {}): Promise<Task> {
  const config = await readLmEvalConfig(path);
  const sources = options.sources ?? { folders: [dirname(path)] };
  const split = config.test_split ?? config.validation_split ?? config.training_split;
  if (!split) {
    const fix = "Add test_split or validation_split.";
    throw new DataError({ code: "task-bad-file", what: "The task names no split to evaluate on.", where: path, fix });
  }
  const rows = await splitRows(config, sources, split);
  const reader = documentReader(config, path);
  const shots = await fewshot(config, { sources, rows, split, count: options.numFewshot ?? config.num_fewshot });
  const seed = options.seed ?? 1234;
  const examples = rows.map((row, i) => {
    const prefix = shotText(config, reader, drawn(shots, { config, row, seed: derivedSeed(seed, i) }));
    return toExample(reader, row, { config, prefix, id: String(i) });
  });
  return {
    name: config.task,
    kind: config.output_type,
    examples,
    metrics: config.metric_list?.map(({ metric }) => metric) ?? DEFAULT_METRICS[config.output_type],
    choiceScore: "sum",
    targetDelimiter: config.target_delimiter,
    ...(config.output_type === "generate_until" && { generation: generationOf(config, path) }),
    ...(config.filter_list && { filters: parseFilterList(config.filter_list, path) }),
    ...exactMatchOf(config, path),
  };
}

// The harness's DEFAULT_METRIC_REGISTRY.
const DEFAULT_METRICS: Readonly<Record<Task["kind"], readonly string[]>> = {
  multiple_choice: ["acc", "acc_norm"],
  generate_until: ["exact_match"],
  loglikelihood: ["perplexity", "acc"],
  loglikelihood_rolling: ["word_perplexity", "byte_perplexity", "bits_per_byte"],
};

function exactMatchOf({ metric_list }: LmEvalConfig, path: string): Pick<Task, "exactMatchFilters"> {
  const options = metric_list?.find((metric) => "ignore_case" in metric);
  return options && "ignore_case" in options ? { exactMatchFilters: exactMatchFilters(options, path) } : {};
}

async function splitRows(config: LmEvalConfig, sources: DataSources, split: string): Promise<Row[]> {
  const { dataset_path: dataset, dataset_name: name, dataset_kwargs: given } = config;
  const files = { files: given?.data_files, subfolder: given?.data_dir, revision: given?.revision };
  const found = await findDataFiles({ dataset, config: name ?? undefined, splits: [split], ...files }, sources);
  return (await Promise.all(found.map(readRows))).flat();
}

interface Shots {
  readonly rows: readonly Row[];
  readonly count: number;
  /** Whether the shots are drawn from the evaluated rows; a row is then never its own shot. */
  readonly isSameSplit: boolean;
}

interface ShotRequest {
  readonly sources: DataSources;
  readonly rows: readonly Row[];
  readonly split: string;
  readonly count: number;
}

async function fewshot(config: LmEvalConfig, { sources, rows, split, count }: ShotRequest): Promise<Shots> {
  const source = config.fewshot_split ?? config.training_split ?? config.validation_split ?? split;
  if (count === 0) return { rows: [], count, isSameSplit: false };
  return { rows: source === split ? rows : await splitRows(config, sources, source), count, isSameSplit: source === split };
}

function drawn(
  { rows, count, isSameSplit }: Shots,
  { config, row, seed }: { config: LmEvalConfig; row: Row; seed: number },
): readonly Row[] {
  if (count === 0) return [];
  if (config.fewshot_config?.sampler === "first_n") return rows.slice(0, count);
  const random = seededRandom(seed);
  const wanted = Math.min(count, isSameSplit ? rows.length - 1 : rows.length);
  const chosen = new Set<Row>();
  while (chosen.size < wanted) {
    const candidate = rows[random.integer(rows.length)]!;
    if (candidate !== row) chosen.add(candidate);
  }
  return [...chosen];
}

function shotText(config: LmEvalConfig, reader: DocumentReader, shots: readonly Row[]): string {
  return shots
    .map((row) => {
      const { target, label } = reader.target(row);
      const answer = label === undefined ? target : reader.choices(row)?.[label];
      return reader.text(row) + config.target_delimiter + (answer ?? "") + config.fewshot_delimiter;
    })
    .join("");
}

function toExample(
  reader: DocumentReader,
  row: Row,
  { config, prefix, id }: { config: LmEvalConfig; prefix: string; id: string },
): Example {
  const { target, targets, label } = reader.target(row);
  if (config.output_type === "loglikelihood_rolling") return { input: "", target, id };
  const input = reader.description(row) + prefix + reader.text(row);
  if (config.output_type !== "multiple_choice") return { input, target, ...(targets && { targets }), id };
  const choices = reader.choices(row) ?? [];
  const right = label ?? choices.indexOf(target);
  if (choices[right] === undefined) {
    const what = `The target ${JSON.stringify(target)} is none of the ${choices.length} choices.`;
    throw new DataError({ code: "task-bad-choices", what, where: row.where, fix: "Correct doc_to_target or doc_to_choice." });
  }
  return { input, target: choices[right], choices, label: right, id };
}

function generationOf({ generation_kwargs: given, fewshot_delimiter }: LmEvalConfig, where: string): Generation {
  const until = given?.until ?? [fewshot_delimiter];
  if (given?.do_sample === true || (given?.num_beams ?? 1) > 1) {
    const fix = "Remove do_sample and num_beams from generation_kwargs.";
    throw new DataError({ code: "task-unsupported", what: "Only greedy generation is evaluated.", where, fix });
  }
  return { until: [until].flat(), maxTokens: given?.max_gen_toks ?? DEFAULT_GENERATION.maxTokens };
}
