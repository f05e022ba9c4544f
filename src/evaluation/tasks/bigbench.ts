/** @file BIG-bench: the original task.json, and the rows of its Hugging Face form.
 *
 *    task.json  prefix + input + choices + prefix, as the task says; defaults "\nQ: ", "\n  choice: ", "\nA: "
 *    rows       { inputs, targets[], multiple_choice_targets[], multiple_choice_scores[] }, prompt = inputs + "\nAnswer:"
 *               and target = the longest of targets, as in the PHATGOOSE authors' bigbench.py
 *
 *  Reference: BIG-bench docs/doc.md, "JSON tasks". */

import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { derivedSeed, seededRandom, shuffled } from "../../base/random.ts";
import { parseRow, type Row } from "../../data/row.ts";
import { parseJson, readUtf8 } from "../../data/rows.ts";
import { DEFAULT_GENERATION, type Example, labelsFromText, type Task } from "./task.ts";

const exampleSchema = z.object({
  input: z.string(),
  target: z.union([z.string().transform((text) => [text]), z.array(z.string()).min(1)]).optional(),
  target_scores: z.record(z.string(), z.number()).optional(),
});
type JsonExample = z.infer<typeof exampleSchema>;

const taskSchema = z.object({
  name: z.string(),
  metrics: z.array(z.string()),
  examples: z.array(exampleSchema).min(1),
  append_choices_to_input: z.boolean().default(true),
  task_prefix: z.string().default(""),
  example_input_prefix: z.string().default("\nQ: "),
  example_output_prefix: z.string().default("\nA: "),
  choice_prefix: z.string().default("\n  choice: "),
  stop_string: z.string().optional(),
});
type JsonTask = z.infer<typeof taskSchema>;

export interface BigBenchOptions {
  /** Seed of the order in which choices are appended to inputs (default 0). */
  readonly seed?: number;
}

/** The task of a BIG-bench task.json. */
export async function readBigBenchTask(path: string, { seed = 0 }: BigBenchOptions = {}): Promise<Task> {
  const result = taskSchema.safeParse(parseJson(await readUtf8(path), path));
  if (!result.success) {
    throw new DataError({
      code: "task-bad-file",
      what: `Not a BIG-bench JSON task. ${z.prettifyError(result.error)}`,
      where: path,
      fix: "Give a task.json with name, metrics and examples; programmatic tasks (task.py) are not supported.",
    });
  }
  const task = result.data;
  const examples = task.examples.map((example, i) =>
    jsonExample(task, example, { where: `${path}, example ${i + 1}`, seed: derivedSeed(seed, i) }),
  );
  const isChoice = examples.every((example) => example.choices);
  const until = task.stop_string ? [task.stop_string] : DEFAULT_GENERATION.until;
  return {
    name: task.name,
    kind: isChoice ? "multiple_choice" : "generate_until",
    examples,
    metrics: isChoice ? ["acc"] : ["exact_match_multiple_ans"],
    choiceScore: "sum", // multiple_choice_grade compares sums of log-probabilities
    targetDelimiter: "",
    ...(!isChoice && { generation: { ...DEFAULT_GENERATION, until } }),
  };
}

function jsonExample(
  task: JsonTask,
  { input, target, target_scores }: JsonExample,
  { where, seed }: { where: string; seed: number },
): Example {
  const choices = Object.keys(target_scores ?? {});
  const best = Math.max(...Object.values(target_scores ?? {}));
  const targets = target ?? choices.filter((choice) => target_scores?.[choice] === best);
  if (targets.length === 0) {
    throw new DataError({
      code: "data-bad-row",
      what: "The example has neither target nor target_scores.",
      where,
      fix: "Add one of them.",
    });
  }
  // Appended in a random order, since many files list the right choice first.
  const listed = shuffled([...choices].sort(), seededRandom(seed)).map((choice) => task.choice_prefix + choice);
  const appended = task.append_choices_to_input ? listed.join("") : "";
  return {
    input: task.task_prefix + task.example_input_prefix + input + appended + task.example_output_prefix,
    target: targets[0]!,
    targets,
    ...(choices.length > 0 && { choices, ...labelsFromText(targets, choices) }),
  };
}

const rowSchema = z.object({
  inputs: z.string(),
  targets: z.array(z.string()).min(1),
  multiple_choice_targets: z.array(z.string()).nullish(),
  multiple_choice_scores: z.array(z.number()).nullish(),
  idx: z.number().nullish(),
});

/** Examples from rows of the Hugging Face form. `labels` are the choices with score 1. */
export function bigBenchExamples(rows: readonly Row[], suffix = "\nAnswer:"): Example[] {
  return rows.map((row) => {
    const fix = "Use rows { inputs, targets, multiple_choice_targets, multiple_choice_scores }.";
    const { inputs, targets, multiple_choice_targets, multiple_choice_scores, idx } = parseRow(rowSchema, row, fix);
    const choices = multiple_choice_targets ?? [];
    const target = targets.reduce((longest, text) => (text.length > longest.length ? text : longest));
    const labels = (multiple_choice_scores ?? []).flatMap((score, i) => (score === 1 ? [i] : []));
    return {
      input: inputs + suffix,
      target,
      targets,
      ...(choices.length > 0 && { choices, ...labelsFromText([target], choices), ...(labels.length > 0 && { labels }) }),
      ...(idx != null && { id: String(idx) }),
    };
  });
}
