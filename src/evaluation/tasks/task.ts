/** @file What every benchmark comes down to: a task with a kind, metrics and examples. Readers make them, the scorer runs them. */

import type { FilterPipeline, TextFilter } from "./filters.ts";

/** How a model is asked, in lm-evaluation-harness's words (`output_type`). */
export const TASK_KINDS = ["multiple_choice", "generate_until", "loglikelihood", "loglikelihood_rolling"] as const;
export type TaskKind = (typeof TASK_KINDS)[number];

export interface Example {
  /** What the model reads. Empty for `loglikelihood_rolling`, where `target` is the document. */
  readonly input: string;
  /** The right answer, without delimiter. */
  readonly target: string;
  /** All right answers, where there are several. `exact_match` and `rougeL` of the authors compare with the first. */
  readonly targets?: readonly string[];
  readonly choices?: readonly string[];
  /** Index of the right choice; -1 if the data has none. Where it is absent though there are choices, `findLabel`
   *  gives it from token ids. */
  readonly label?: number;
  /** Indices of all right choices, where there may be several. */
  readonly labels?: readonly number[];
  readonly id?: string;
  /** Whether a chat template wrote the input, special tokens and all: encoding adds none, and the end of a turn ends the answer. */
  readonly isRendered?: boolean;
}

export interface Generation {
  /** Generation stops before the first of these. */
  readonly until: readonly string[];
  /** New tokens at most. */
  readonly maxTokens: number;
}

export interface Task {
  readonly name: string;
  readonly kind: TaskKind;
  readonly examples: readonly Example[];
  /** Names of metrics: see task-metrics.ts; `acc`, `acc_norm` and perplexities as lm-evaluation-harness defines them; `accuracy`,
   *  `accuracy_multiple_ans`, `exact_match`, `exact_match_multiple_ans`, `rougeL`, `bleu`, `squad` as the PHATGOOSE authors do. */
  readonly metrics: readonly string[];
  /** How choices are ranked: by the sum of their tokens' log-probabilities, or by the mean per token with the
   *  end-of-sequence token included: sum / (tokens + 1e-6), the PHATGOOSE authors' `length_normalization`. */
  readonly choiceScore: "sum" | "token_mean";
  /** Goes between input and target or choice. */
  readonly targetDelimiter: string;
  readonly generation?: Generation;
  /** Applied to generated text before it is compared; each pipeline gives its own scores. None: the text as it is. */
  readonly filters?: readonly FilterPipeline[];
  /** Applied to prediction and target alike before `exact_match` compares them. */
  readonly exactMatchFilters?: readonly TextFilter[];
  /** The date that chats were given to write, where one was chosen. */
  readonly date?: string;
  /** Inputs are cut to this many tokens. */
  readonly maxInputTokens?: number;
}

/** Generation where a file says nothing: to the end of the line or sequence. */
export const DEFAULT_GENERATION: Generation = { until: ["\n"], maxTokens: 256 };

/** The label and labels of an example, where the texts alone decide them. */
export function labelsFromText(targets: readonly string[], choices: readonly string[]): Pick<Example, "label" | "labels"> {
  const labels = choices.flatMap((choice, i) => (targets.includes(choice) ? [i] : []));
  // Equal choices: the later index, as in `findLabel`.
  const label = choices.lastIndexOf(targets[0] ?? "");
  return { ...(label >= 0 && { label }), ...(labels.length > 0 && { labels }) };
}
