/** @file Scores a file of predictions: lines of `{ "prediction": text, "references": text or [text, ...] }`.
 *
 *  Units, as in the literature: ROUGE F-measures in 0..1; BLEU, chrF and SQuAD in 0..100. With several references the best
 *  one counts. Corpus values are means over examples, except BLEU and chrF, which sum statistics over the corpus first. */

import { z } from "zod";
import { parseRow } from "../../data/row.ts";
import { readRows } from "../../data/rows.ts";
import { corpusBleu, sentenceBleu } from "./bleu.ts";
import { mean } from "./bootstrap.ts";
import { corpusChrf, sentenceChrf } from "./chrf.ts";
import { bestRouge, ROUGE_TYPES, type RougeType } from "./rouge.ts";
import { squad } from "./squad.ts";

/** The metrics that `scorePairs` knows. */
export const SCORE_METRICS = [...ROUGE_TYPES, "bleu", "chrf", "chrf++", "squad", "squad_v2", "exact_match"] as const;
/** The name of a metric that `scorePairs` knows. */
export type ScoreMetric = (typeof SCORE_METRICS)[number];

export const scoreOptions = z.strictObject({
  metrics: z
    .array(z.enum(SCORE_METRICS))
    .min(1)
    .default(["rouge1", "rouge2", "rougeL", "rougeLsum", "bleu"])
    .meta({ description: `Metrics to compute: ${SCORE_METRICS.join(", ")}.`, value: "names" }),
  stemmer: z.boolean().default(false).meta({ description: "Stem words before ROUGE compares them." }),
  perExample: z.boolean().default(false).meta({ description: "Also give the scores of each line (in JSON)." }),
});
/** Options of `scorePairs` and `scoreFile`; all may be left out. */
export type ScoreOptions = z.input<typeof scoreOptions>;

/** Scores by name. `squad` gives `squad_exact_match` and `squad_f1`, `squad_v2` likewise; every other metric its own name. */
export type Scores = Readonly<Record<string, number>>;

/** Scores of all pairs together and, when asked for, of each. ROUGE in 0..1; BLEU, chrF and SQuAD in 0..100. */
export interface ScoreReport {
  readonly corpus: Scores;
  /** One entry per line, in order; only with `perExample`. */
  readonly examples?: readonly Scores[];
}

/** A prediction, and the answers that count as right. */
export interface Pair {
  readonly prediction: string;
  readonly references: readonly string[];
}

const rowSchema = z.object({
  prediction: z.string(),
  references: z.union([z.string().transform((text) => [text]), z.array(z.string()).min(1)]),
});

/** Scores the lines of a .jsonl file (.json, .csv and .parquet work too).
 *  @throws DataError for a file that is missing or a line without prediction and references. */
export async function scoreFile(path: string, options: ScoreOptions = {}): Promise<ScoreReport> {
  const fix = 'Write lines as {"prediction": text, "references": text or [text, ...]}.';
  const pairs = (await readRows(path)).map((row) => parseRow(rowSchema, row, fix));
  return scorePairs(pairs, options);
}

/** Scores pairs of prediction and references. */
export function scorePairs(pairs: readonly Pair[], options: ScoreOptions = {}): ScoreReport {
  const { metrics, stemmer, perExample } = scoreOptions.parse(options);
  const examples = pairs.map((pair) => scoreExample(pair, metrics, stemmer));
  const corpus: Record<string, number> = {};
  for (const name of Object.keys(examples[0] ?? {})) corpus[name] = mean(examples.map((example) => example[name]!));
  const predictions = pairs.map((pair) => pair.prediction);
  const references = pairs.map((pair) => pair.references);
  if (metrics.includes("bleu")) corpus.bleu = corpusBleu(predictions, references).score;
  if (metrics.includes("chrf")) corpus.chrf = corpusChrf(predictions, references);
  if (metrics.includes("chrf++")) corpus["chrf++"] = corpusChrf(predictions, references, { wordOrder: 2 });
  return { corpus, ...(perExample && { examples }) };
}

function scoreExample({ prediction, references }: Pair, metrics: readonly ScoreMetric[], stemmer: boolean): Scores {
  const isRouge = (metric: ScoreMetric): metric is RougeType => metric.startsWith("rouge");
  const rouge = metrics.some(isRouge) ? bestRouge(prediction, references, { stemmer }) : undefined;
  const scores: Record<string, number> = {};
  for (const metric of metrics) {
    if (isRouge(metric)) scores[metric] = rouge?.[metric].fmeasure ?? 0;
    else Object.assign(scores, TEXT_SCORES[metric](prediction, references));
  }
  return scores;
}

type TextScore = (prediction: string, references: readonly string[]) => Scores;
const TEXT_SCORES: Readonly<Record<Exclude<ScoreMetric, RougeType>, TextScore>> = {
  bleu: (prediction, references) => ({ bleu: sentenceBleu(prediction, references).score }),
  chrf: (prediction, references) => ({ chrf: sentenceChrf(prediction, references) }),
  "chrf++": (prediction, references) => ({ "chrf++": sentenceChrf(prediction, references, { wordOrder: 2 }) }),
  squad: (prediction, references) => {
    const { exactMatch, f1 } = squad(prediction, references);
    return { squad_exact_match: 100 * exactMatch, squad_f1: 100 * f1 };
  },
  squad_v2: (prediction, references) => {
    const { exactMatch, f1 } = squad(prediction, references, "2.0");
    return { squad_v2_exact_match: 100 * exactMatch, squad_v2_f1: 100 * f1 };
  },
  exact_match: (prediction, references) => ({ exact_match: references.includes(prediction) ? 1 : 0 }),
};
