/** @file Perplexities as lm-evaluation-harness defines them, from summed log-likelihoods (natural logarithm).
 *
 *    perplexity       = exp(-mean over documents of the log-likelihood)     for `loglikelihood` tasks such as LAMBADA
 *    token_perplexity = exp(-sum log-likelihood / sum tokens)
 *    word_perplexity  = exp(-sum log-likelihood / sum words)                words = pieces of re.split(r"\s+", text)
 *    byte_perplexity  = exp(-sum log-likelihood / sum UTF-8 bytes)
 *    bits_per_byte    = -sum log-likelihood / (sum bytes * ln 2) */

import { WHITESPACE_RUNS } from "./python-text.ts";

/** A document and how likely a model found it. */
export interface DocumentLikelihood {
  readonly text: string;
  /** Sum of the log-probabilities of the document's tokens. */
  readonly loglikelihood: number;
  /** Tokens scored. */
  readonly tokens: number;
}

/** Perplexity by word and by byte, and bits for each byte, as lm-evaluation-harness defines them. */
export interface Perplexities {
  readonly tokenPerplexity: number;
  readonly wordPerplexity: number;
  readonly bytePerplexity: number;
  readonly bitsPerByte: number;
}

/** Token, word and byte perplexity of a set of documents, each weighted by its length. */
export function perplexities(documents: readonly DocumentLikelihood[]): Perplexities {
  const sum = (count: (document: DocumentLikelihood) => number) => documents.reduce((total, document) => total + count(document), 0);
  const loss = -sum(({ loglikelihood }) => loglikelihood);
  const bytes = sum(({ text }) => Buffer.byteLength(text, "utf8"));
  return {
    tokenPerplexity: Math.exp(loss / sum(({ tokens }) => tokens)),
    wordPerplexity: Math.exp(loss / sum(({ text }) => countWords(text))),
    bytePerplexity: Math.exp(loss / bytes),
    bitsPerByte: loss / (bytes * Math.LN2),
  };
}

/** exp of minus the mean log-likelihood of whole continuations: the harness's `perplexity`. */
export function perplexity(loglikelihoods: readonly number[]): number {
  return Math.exp(-loglikelihoods.reduce((sum, value) => sum + value, 0) / loglikelihoods.length);
}

/** Words as the harness counts them: leading or trailing whitespace adds an empty word. */
export function countWords(text: string): number {
  return text.split(WHITESPACE_RUNS).length;
}
