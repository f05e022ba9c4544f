/** @file The common form of all benchmarks: a task with a kind, metrics and examples. Readers make tasks; the scorer runs them. */

import type { FilterPipeline, TextFilter } from "./filters.ts";

/** The kind of request, named as in lm-evaluation-harness (`output_type`). */
export const TASK_KINDS = ["multiple_choice", "generate_until", "loglikelihood", "loglikelihood_rolling"] as const;
/** How a model is asked: to choose, to write until a stop, or how likely a target or a whole document is. */
export type TaskKind = (typeof TASK_KINDS)[number];

/** One example of a task: what the model reads, and what is right. */
export interface Example {
  /** The model's input. Empty for `loglikelihood_rolling`, where `target` is the document. */
  readonly input: string;
  /** The right answer, without delimiter. */
  readonly target: string;
  /** All right answers, if there are several. `exact_match` and `rougeL` of the authors compare with the first. */
  readonly targets?: readonly string[];
  readonly choices?: readonly string[];
  /** Index of the right choice; -1 if the data has none. If there are choices and it is absent, `findLabel` finds it by
   *  token ids. */
  readonly label?: number;
  /** Indices of all right choices, if there may be several. */
  readonly labels?: readonly number[];
  readonly id?: string;
  /** Whether a chat template wrote the input with its special tokens. Encoding then adds none, and the end of a turn ends the answer. */
  readonly isRendered?: boolean;
}

/** When generated answers end. */
export interface Generation {
  /** Generation stops before the first of these. */
  readonly until: readonly string[];
  /** New tokens at most. */
  readonly maxTokens: number;
}

/** Examples, how a model is asked for answers, and how answers are measured. */
export interface Task {
  readonly name: string;
  readonly kind: TaskKind;
  readonly examples: readonly Example[];
  /** Names of metrics (task-metrics.ts). `acc`, `acc_norm` and perplexities are defined as in lm-evaluation-harness; `accuracy`,
   *  `accuracy_multiple_ans`, `exact_match`, `exact_match_multiple_ans`, `rougeL`, `bleu`, `squad` as in the PHATGOOSE authors' code. */
  readonly metrics: readonly string[];
  /** How choices are ranked: by the sum of their tokens' log-probabilities, or by the mean per token with the
   *  end-of-sequence token included: sum / (tokens + 1e-6), the PHATGOOSE authors' `length_normalization`. */
  readonly choiceScore: "sum" | "token_mean";
  /** The text between input and target or choice. */
  readonly targetDelimiter: string;
  readonly generation?: Generation;
  /** Applied to generated text before the comparison; each pipeline gives its own scores. Default: the text is unchanged. */
  readonly filters?: readonly FilterPipeline[];
  /** Applied to prediction and target before `exact_match` compares them. */
  readonly exactMatchFilters?: readonly TextFilter[];
  /** The date that chats were given to write, where one was chosen. */
  readonly date?: string;
  /** Inputs are cut to this many tokens. */
  readonly maxInputTokens?: number;
}

/** The default generation settings: up to the end of the line or sequence. */
export const DEFAULT_GENERATION: Generation = { until: ["\n"], maxTokens: 256 };

/** The label and labels of an example, if the texts determine them. */
export function labelsFromText(targets: readonly string[], choices: readonly string[]): Pick<Example, "label" | "labels"> {
  const labels = choices.flatMap((choice, i) => (targets.includes(choice) ? [i] : []));
  // Equal choices: the later index, as in `findLabel`.
  const label = choices.lastIndexOf(targets[0] ?? "");
  return { ...(label >= 0 && { label }), ...(labels.length > 0 && { labels }) };
}
