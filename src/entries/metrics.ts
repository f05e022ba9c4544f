/** @file `skein/metrics`: scores of texts against references, equal to those of the metrics' original programs. They need no model. */

export {
  type BleuOptions,
  type BleuScore,
  type BleuSmoothing,
  type BleuStatistics,
  corpusBleu,
  sentenceBleu,
} from "../evaluation/metrics/bleu.ts";
export type { BleuTokenizer } from "../evaluation/metrics/bleu-tokenizers.ts";
export { type BootstrapOptions, bootstrapError, bootstrapStandardError, standardError } from "../evaluation/metrics/bootstrap.ts";
export { type ChrfOptions, corpusChrf, sentenceChrf } from "../evaluation/metrics/chrf.ts";
export { accuracy, accuracyMultipleAnswers, exactMatch, exactMatchMultipleAnswers } from "../evaluation/metrics/classification.ts";
export { type DocumentLikelihood, type Perplexities, perplexities, perplexity } from "../evaluation/metrics/perplexity.ts";
export { bestRouge, type RougeOptions, type RougeScore, type RougeType, rouge } from "../evaluation/metrics/rouge.ts";
export {
  type Pair,
  SCORE_METRICS,
  type ScoreMetric,
  type ScoreOptions,
  type ScoreReport,
  type Scores,
  scoreFile,
  scorePairs,
} from "../evaluation/metrics/score.ts";
export { corpusSquad, type SquadScore, type SquadVersion, squad } from "../evaluation/metrics/squad.ts";
