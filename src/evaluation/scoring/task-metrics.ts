/** @file Metrics by name: the value of one example, and the value of a task.
 *
 *  Values are in 0..1 (BLEU, chrF and SQuAD divided by 100), except perplexities and bits per byte, where less is better.
 *  Nothing is rounded (the PHATGOOSE authors round each to 3 decimals). Means have the closed-form standard error; corpus
 *  statistics (BLEU, perplexities) a bootstrap one.
 *
 *    accuracy, accuracy_multiple_ans          best choice by the task's own rule; any right choice
 *    acc, acc_norm, acc_bytes                 best choice by sum, per character, per byte; whole target greedy
 *    exact_match, rouge1/2/L/Lsum             against the first target; ..._multiple_ans: the best over all
 *    rougeL_ni                                Natural Instructions': stemmed, best over all targets
 *    bleu, chrf, squad                        against all targets; squad gives squad_exact_match and squad_f1
 *    perplexity, token_/word_/byte_perplexity, bits_per_byte     of the target after the input */

import { OptionError } from "../../base/errors.ts";
import { addBleuStatistics, bleuFromStatistics, bleuStatistics } from "../metrics/bleu.ts";
import { bootstrapError, mean, standardError } from "../metrics/bootstrap.ts";
import { sentenceChrf } from "../metrics/chrf.ts";
import { type DocumentLikelihood, perplexities, perplexity } from "../metrics/perplexity.ts";
import { bestRouge, ROUGE_TYPES } from "../metrics/rouge.ts";
import { squad } from "../metrics/squad.ts";
import { type FilterPipeline, filtering } from "../tasks/filters.ts";
import type { Example, Task } from "../tasks/task.ts";
import { metricKey } from "./metric-key.ts";
import { bestChoice, type RankRule } from "./rank.ts";
import type { Likelihood } from "./score-tokens.ts";

/** A model's answer to one example. */
export interface Answer {
  /** Generated text. */
  readonly text?: string;
  /** Log-likelihood of each choice. */
  readonly choices?: readonly Likelihood[];
  readonly label?: number;
  readonly labels?: readonly number[];
  /** Log-likelihood of the target after the input. */
  readonly target?: Likelihood;
}
/** A metric's value and its standard error, in the metric's own unit. */
export interface MetricValue {
  readonly value: number;
  readonly stderr: number;
  /** The number of examples. */
  readonly n: number;
}
/** An example with the answer to it. */
export interface Answered {
  readonly example: Example;
  readonly answer: Answer;
}

interface Metric {
  /** The kind of answer that it needs. */
  readonly needs: "choices" | "text" | "target";
  readonly lowerIsBetter?: boolean;
  /** The value of one example, by name. */
  readonly ofExample: (answered: Answered, task: Task) => Readonly<Record<string, number>>;
  /** The value of all examples, if it is not the mean. */
  readonly ofAll?: (all: readonly Answered[]) => (sample: readonly number[]) => number;
}

const right = (isRight: boolean) => (isRight ? 1 : 0);

function choiceMetric(name: string, rule: (task: Task) => RankRule, several: boolean): Metric {
  return {
    needs: "choices",
    ofExample: ({ example, answer }, task) => {
      if (!answer.choices) return { [name]: right(answer.target?.isGreedy ?? false) };
      const best = bestChoice(answer.choices, example.choices ?? [], rule(task));
      return { [name]: right(several ? (answer.labels ?? []).includes(best) : best === answer.label) };
    },
  };
}

type TextScore = (prediction: string, references: readonly string[], task: Task) => Readonly<Record<string, number>>;
const allTargets = ({ target, targets }: Example) => (targets && targets.length > 0 ? targets : [target]);

function textMetric(score: TextScore, references: (example: Example) => readonly string[]): Metric {
  return { needs: "text", ofExample: ({ example, answer }, task) => score(answer.text ?? "", references(example), task) };
}

const exactMatch =
  (name: string): TextScore =>
  (prediction, references, { exactMatchFilters = [] }) => {
    const clean = filtering(exactMatchFilters);
    return { [name]: right(references.some((reference) => clean(reference) === clean(prediction))) };
  };

const bleu: Metric = {
  ...textMetric((p, refs) => ({ bleu: bleuFromStatistics(bleuStatistics(p, refs), { effectiveOrder: true }).score / 100 }), allTargets),
  ofAll: (all) => {
    const parts = all.map(({ example, answer }) => bleuStatistics(answer.text ?? "", allTargets(example)));
    return (sample) => bleuFromStatistics(addBleuStatistics(sample.map((i) => parts[i]!))).score / 100;
  },
};

function perplexityMetric(name: string, of: (documents: readonly DocumentLikelihood[]) => number): Metric {
  const document = ({ example, answer }: Answered): DocumentLikelihood => ({
    text: example.target,
    loglikelihood: answer.target?.sum ?? 0,
    tokens: answer.target?.tokens ?? 0,
  });
  return {
    needs: "target",
    lowerIsBetter: true,
    ofExample: (answered) => ({ [name]: of([document(answered)]) }),
    ofAll: (all) => {
      const documents = all.map(document);
      return (sample) => of(sample.map((i) => documents[i]!));
    },
  };
}

const first = ({ target }: Example) => [target];
const ownRule = ({ choiceScore }: Task): RankRule => choiceScore;

const METRICS: Readonly<Record<string, Metric>> = {
  accuracy: choiceMetric("accuracy", ownRule, false),
  accuracy_multiple_ans: choiceMetric("accuracy_multiple_ans", ownRule, true),
  acc: choiceMetric("acc", () => "sum", true),
  acc_norm: choiceMetric("acc_norm", () => "characters", true),
  acc_bytes: choiceMetric("acc_bytes", () => "bytes", true),
  exact_match: textMetric(exactMatch("exact_match"), first),
  exact_match_multiple_ans: textMetric(exactMatch("exact_match_multiple_ans"), allTargets),
  ...Object.fromEntries(
    ROUGE_TYPES.flatMap((type) => [
      [type, textMetric((p, refs) => ({ [type]: bestRouge(p, refs)[type].fmeasure }), first)],
      [`${type}_multiple_ans`, textMetric((p, refs) => ({ [`${type}_multiple_ans`]: bestRouge(p, refs)[type].fmeasure }), allTargets)],
    ]),
  ),
  rougeL_ni: textMetric((p, refs) => ({ rougeL_ni: bestRouge(p, refs, { stemmer: true }).rougeL.fmeasure }), allTargets),
  bleu,
  chrf: textMetric((p, refs) => ({ chrf: sentenceChrf(p, refs) / 100 }), allTargets),
  squad: textMetric((p, refs) => {
    const { exactMatch: em, f1 } = squad(p, refs);
    return { squad_exact_match: em, squad_f1: f1 };
  }, allTargets),
  perplexity: perplexityMetric("perplexity", (documents) => perplexity(documents.map(({ loglikelihood }) => loglikelihood))),
  token_perplexity: perplexityMetric("token_perplexity", (documents) => perplexities(documents).tokenPerplexity),
  word_perplexity: perplexityMetric("word_perplexity", (documents) => perplexities(documents).wordPerplexity),
  byte_perplexity: perplexityMetric("byte_perplexity", (documents) => perplexities(documents).bytePerplexity),
  bits_per_byte: perplexityMetric("bits_per_byte", (documents) => perplexities(documents).bitsPerByte),
};
export const METRIC_NAMES: readonly string[] = Object.keys(METRICS);

function metricNamed(name: string, task: Task): Metric {
  const metric = METRICS[name];
  if (metric) return metric;
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "metrics", got: name, known: METRIC_NAMES },
    what: `There is no metric "${name}".`,
    where: task.name,
    fix: `Use some of: ${METRIC_NAMES.join(", ")}.`,
  });
}

/** The kinds of answers that a task's metrics need. */
export function neededFor(task: Task): ReadonlySet<Metric["needs"]> {
  return new Set(
    task.metrics.map((name) => {
      const { needs } = metricNamed(name, task);
      return needs === "choices" && task.kind !== "multiple_choice" ? "target" : needs;
    }),
  );
}

/** What a task's answers are worth: each metric over all examples, and for each. */
export interface Measured {
  readonly metrics: Readonly<Record<string, MetricValue>>;
  /** The mean of the metrics where more is better; without such a metric, the first one. */
  readonly score: MetricValue;
  readonly lowerIsBetter: boolean;
  /** Each example's values. */
  readonly perExample: readonly Readonly<Record<string, number>>[];
}

const SEED = 1234;
const RESAMPLES = 200; // gives the bootstrap error of a corpus statistic to within 5 %

/** All metrics of a task's answers. With filters, each pipeline gives its own values, named "<metric>,<pipeline>". */
export function measured(task: Task, answered: readonly Answered[]): Measured {
  const metrics: Record<string, MetricValue> = {};
  const perExample: Record<string, number>[] = answered.map(() => ({}));
  const better: string[] = [];
  const pipelines = task.filters?.length ? task.filters : [undefined];
  for (const metricName of task.metrics) {
    const metric = metricNamed(metricName, task);
    for (const pipeline of metric.needs === "text" ? pipelines : [undefined]) {
      const seen = pipeline ? filteredBy(pipeline, answered) : answered;
      const values = seen.map((one) => metric.ofExample(one, task));
      for (const part of Object.keys(values[0] ?? {})) {
        const name = metricKey({ metric: part, pipeline: pipeline?.name });
        values.forEach((value, i) => {
          perExample[i]![name] = value[part]!;
        });
        metrics[name] = summary(
          values.map((value) => value[part]!),
          metric.ofAll?.(seen),
        );
        if (!metric.lowerIsBetter) better.push(name);
      }
    }
  }
  return { metrics, perExample, lowerIsBetter: better.length === 0, score: scoreOf(metrics, better) };
}

function filteredBy({ filters }: FilterPipeline, answered: readonly Answered[]): Answered[] {
  const apply = filtering(filters);
  return answered.map(({ example, answer }) => ({
    example,
    answer: answer.text === undefined ? answer : { ...answer, text: apply(answer.text) },
  }));
}

function summary(values: readonly number[], ofAll?: (sample: readonly number[]) => number): MetricValue {
  const n = values.length;
  if (!ofAll) return { value: mean(values), stderr: standardError(values), n };
  const indices = values.map((_, i) => i);
  return { value: ofAll(indices), stderr: bootstrapError(indices, { seed: SEED, resamples: RESAMPLES, statistic: ofAll }), n };
}

function scoreOf(metrics: Readonly<Record<string, MetricValue>>, better: readonly string[]): MetricValue {
  const parts = better.length > 0 ? better.map((name) => metrics[name]!) : Object.values(metrics).slice(0, 1);
  // The metrics of one task are correlated. The mean of their errors is an upper bound for the error of their mean.
  return { value: mean(parts.map(({ value }) => value)), stderr: mean(parts.map(({ stderr }) => stderr)), n: parts[0]!.n };
}
