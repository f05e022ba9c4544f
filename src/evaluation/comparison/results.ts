/** @file An evaluation written to a folder.
 *
 *    results.json                             methods, tasks, metrics with standard errors, means
 *    results.md                               the tables
 *    sweeps.json                              charts of sweeps, if there are any
 *    usage.json                               each router's use of the experts, by task and module, if a report shows it
 *    <method>/results_<date>.json             in lm-evaluation-harness's format, for tools that read it
 *    <method>/samples_<task>_<date>.jsonl     likewise: every example with the method's answer
 *
 *  Metrics with the same name as the harness's have the same values, except that shares are in 0..1 here (its BLEU is in 0..100). */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { writeFileAtomically } from "../../checkpoint/atomic.ts";
import { harnessKeys, parsedMetricKey } from "../scoring/metric-key.ts";
import type { RouteUsage } from "../scoring/route-usage.ts";
import type { Outcome } from "../scoring/run-task.ts";
import { type FilterPipeline, filtering } from "../tasks/filters.ts";
import type { Example } from "../tasks/task.ts";
import type { Chart } from "./chart.ts";
import type { Evaluation, MethodResult } from "./evaluate.ts";
import type { EvaluationTask } from "./evaluation-task.ts";
import { markdownTables } from "./tables.ts";

/** Writes all files below `folder`; returns their paths.
 *  @throws CheckpointError where the folder cannot be written. */
export async function saveResults(
  folder: string,
  evaluation: Evaluation,
  { sweeps = [], usage = [] }: { readonly sweeps?: readonly Chart[]; readonly usage?: readonly RouteUsage[] } = {},
): Promise<string[]> {
  const stamp = evaluation.date.replaceAll(":", "-");
  const files = new Map<string, string>([
    ["results.json", json(resultsJson(evaluation))],
    ["results.md", markdownTables(evaluation)],
    ...(sweeps.length > 0 ? [["sweeps.json", json(sweeps)] as const] : []),
    ...(usage.length > 0 ? [["usage.json", json(usage)] as const] : []),
  ]);
  const folders = fileNames(evaluation.methods);
  const stems = fileNames(evaluation.tasks);
  evaluation.methods.forEach((method, m) => {
    files.set(`${folders[m]}/results_${stamp}.json`, json(harnessResults(evaluation, method)));
    evaluation.tasks.forEach((task, t) => {
      const lines = harnessSamples(task, method.tasks[task.name]!.outcomes).map((line) => JSON.stringify(line));
      files.set(`${folders[m]}/samples_${stems[t]}_${stamp}.jsonl`, `${lines.join("\n")}\n`);
    });
  });
  for (const [name, text] of files) await writeFileAtomically(join(folder, name), text);
  return [...files.keys()].map((name) => join(folder, name));
}

/** Names that are valid on any file system. If two become equal, the later one gets a number. */
function fileNames(items: readonly { readonly name: string }[]): string[] {
  const taken = new Set<string>();
  return items.map(({ name }) => {
    const plain = name.replace(/[^\w.=-]+/g, "_");
    let own = plain;
    for (let n = 2; taken.has(own); n++) own = `${plain}_${n}`;
    taken.add(own);
    return own;
  });
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** Skein's own format, without the outcomes of single examples. */
export function resultsJson({ date, base, experts, tasks, methods }: Evaluation) {
  return {
    date,
    base,
    experts,
    tasks: tasks.map(({ name, kind, group, metrics, examples }) => ({ name, kind, group, metrics, examples: examples.length })),
    methods: methods.map(({ name, kind, means, chosen, details, tasks: results }) => ({
      name,
      kind,
      means,
      ...(chosen && { chosen }),
      ...(details && { details }),
      tasks: Object.fromEntries(Object.entries(results).map(([task, { outcomes: _, ...rest }]) => [task, rest])),
    })),
  };
}

/** One method in lm-evaluation-harness's format for results. */
export function harnessResults({ date, base, tasks }: Evaluation, method: MethodResult) {
  const perTask = <T>(value: (task: EvaluationTask) => T) => Object.fromEntries(tasks.map((task) => [task.name, value(task)]));
  return {
    results: perTask(({ name }) => ({
      alias: name,
      ...Object.fromEntries(
        Object.entries(method.tasks[name]!.metrics).flatMap(([metric, { value, stderr }]) => {
          const keys = harnessKeys(metric);
          return [
            [keys.value, value],
            [keys.error, stderr],
          ];
        }),
      ),
    })),
    group_subtasks: perTask(() => []),
    configs: perTask(({ name, kind, metrics, targetDelimiter, generation }) => ({
      task: name,
      output_type: kind,
      metric_list: metrics.map((metric) => ({ metric })),
      target_delimiter: targetDelimiter,
      ...(generation && { generation_kwargs: { until: generation.until, max_gen_toks: generation.maxTokens, do_sample: false } }),
    })),
    versions: perTask(() => 0),
    "n-shot": perTask(() => 0),
    higher_is_better: perTask(({ name }) =>
      Object.fromEntries(
        Object.keys(method.tasks[name]!.metrics).map((metric) => [
          parsedMetricKey(metric).metric,
          !/perplexity|bits_per_byte/.test(metric),
        ]),
      ),
    ),
    "n-samples": perTask(({ examples }) => ({ original: examples.length, effective: examples.length })),
    config: { model: "skein", model_args: `base=${base.path},method=${method.name}`, base_fingerprint: base.fingerprint },
    git_hash: null,
    date: Date.parse(date) / 1000,
  };
}

/** A task's examples in the harness's format for samples. Filtered text has one line for each pipeline of filters. */
export function harnessSamples(task: EvaluationTask, outcomes: readonly Outcome[]) {
  return task.examples.flatMap((example, i) => {
    const { values, ...answer } = outcomes[i]!;
    const target = String(task.kind === "multiple_choice" ? (answer.label ?? example.target) : example.target);
    const { arguments: asked, resps } = exchange(task, example, answer);
    const { text } = answer;
    const pipelines = text === undefined || !task.filters?.length ? [{ name: "none", answers: resps }] : filteredBy(task.filters, text);
    return pipelines.map(({ name, answers }) => {
      const own = valuesOf(values, name);
      return {
        doc_id: i,
        doc: example,
        target,
        arguments: asked,
        resps: resps.map((response) => [response]),
        filtered_resps: answers,
        filter: name,
        metrics: Object.keys(own),
        doc_hash: sha256(JSON.stringify(example, null, 2)),
        prompt_hash: sha256(example.input),
        target_hash: sha256(target),
        ...own,
      };
    });
  });
}

function filteredBy(pipelines: readonly FilterPipeline[], text: string) {
  return pipelines.map(({ name, filters }) => ({ name, answers: [filtering(filters)(text)] }));
}

/** The values of one pipeline, without its name: its own ("exact_match,strict") and those without filters. */
function valuesOf(values: Outcome["values"], pipeline: string): Record<string, number> {
  const parts = Object.entries(values).flatMap(([key, value]) => {
    const { metric, pipeline: own = pipeline } = parsedMetricKey(key);
    return own === pipeline ? [[metric, value] as const] : [];
  });
  return Object.fromEntries(parts);
}

/** The model's input and answer. */
function exchange(task: EvaluationTask, example: Example, { choices, text, target }: Omit<Outcome, "values">) {
  const likelihood = ({ sum, isGreedy }: NonNullable<typeof target>) => [String(sum), isGreedy ? "True" : "False"];
  if (choices) {
    const texts = example.choices ?? [];
    const pairs = texts.map((choice, c) => [`gen_args_${c}`, { arg_0: example.input, arg_1: task.targetDelimiter + choice }]);
    return { arguments: Object.fromEntries(pairs), resps: choices.map(likelihood) };
  }
  if (text !== undefined) {
    const { until = [], maxTokens } = task.generation ?? {};
    return { arguments: { gen_args_0: { arg_0: example.input, arg_1: { until, max_gen_toks: maxTokens } } }, resps: [text] };
  }
  const arg = { arg_0: example.input, arg_1: task.targetDelimiter + example.target };
  return { arguments: { gen_args_0: arg }, resps: target ? [likelihood(target)] : [] };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
