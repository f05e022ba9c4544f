import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type BleuScore, bleuFromStatistics, corpusBleu, sentenceBleu } from "./bleu.ts";
import { BLEU_TOKENIZERS, tokenizeForBleu } from "./bleu-tokenizers.ts";
import { corpusChrf, sentenceChrf } from "./chrf.ts";
import { porterStem } from "./porter-stemmer.ts";
import { splitWhitespace, stripRight } from "./python-text.ts";
import { bestRouge, ROUGE_TYPES, type RougeScore, rouge, rougeTokens } from "./rouge.ts";
import { normalizeAnswer, squad } from "./squad.ts";

// Golden: NLTK 3.8, google-research rouge_score, sacrebleu f615c72 and the official SQuAD scripts. Both sides are
// float64; 1e-10 allows another order of additions.
const TOLERANCE = 10;
type Triple = [number, number, number];
type RougeGolden = Record<(typeof ROUGE_TYPES)[number], Triple>;
interface BleuGolden {
  score: number;
  counts: number[];
  totals: number[];
  precisions: number[];
  bp: number;
  sys_len: number;
  ref_len: number;
}
interface Item {
  id: number;
  prediction: string;
  references: string[];
  rouge: RougeGolden[];
  rouge_stem: RougeGolden[];
  rouge_max_f: Record<string, number>;
  rouge_stem_max_f: Record<string, number>;
  rouge_tokens: string[];
  rouge_tokens_stem: string[];
  bleu_13a: BleuGolden;
  bleu_intl: BleuGolden;
  bleu_none: BleuGolden;
  bleu_char: BleuGolden;
  bleu_13a_lowercase: number;
  bleu_13a_no_effective_order: number;
  bleu_13a_smooth_none: number;
  bleu_13a_smooth_floor: number;
  bleu_13a_smooth_addk: number;
  tok_13a: string;
  tok_intl: string;
  chrf: number;
  "chrf++": number;
  squad11: { em: number; f1: number };
  squad20: { em: number; f1: number };
  squad_normalized: string;
}
type Corpus = { name: string } & Record<`bleu_${(typeof BLEU_TOKENIZERS)[number]}`, BleuGolden>;
const golden: { items: Item[]; corpora: Corpus[]; porter_stems: Record<string, string> } = JSON.parse(
  readFileSync(new URL("../../../tests/golden/text_metrics/text_metrics.json", import.meta.url), "utf8"),
);

test("stems equal NLTK's", () => {
  const words = Object.keys(golden.porter_stems);
  expect(Object.fromEntries(words.map((word) => [word, porterStem(word)]))).toEqual(golden.porter_stems);
  expect(words.length).toBeGreaterThan(200);
});

function expectRouge(actual: Record<string, RougeScore>, expected: RougeGolden) {
  for (const type of ROUGE_TYPES) {
    const { precision, recall, fmeasure } = actual[type]!;
    expect(precision, type).toBeCloseTo(expected[type][0], TOLERANCE);
    expect(recall, type).toBeCloseTo(expected[type][1], TOLERANCE);
    expect(fmeasure, type).toBeCloseTo(expected[type][2], TOLERANCE);
  }
}

function expectBleu(actual: BleuScore, expected: BleuGolden) {
  expect(actual.counts).toEqual(expected.counts);
  expect(actual.totals).toEqual(expected.totals);
  expect([actual.predictionLength, actual.referenceLength]).toEqual([expected.sys_len, expected.ref_len]);
  expect(actual.brevityPenalty).toBeCloseTo(expected.bp, TOLERANCE);
  expect(actual.score).toBeCloseTo(expected.score, TOLERANCE);
  for (const [i, precision] of expected.precisions.entries()) {
    expect(actual.precisions[i]).toBeCloseTo(precision, TOLERANCE);
  }
}

describe.each(golden.items.map((item) => [item.id, item] as const))("pair %d", (_, item) => {
  const { prediction, references } = item;

  test("ROUGE", () => {
    expect(rougeTokens(prediction)).toEqual(item.rouge_tokens);
    expect(rougeTokens(prediction, { stemmer: true })).toEqual(item.rouge_tokens_stem);
    for (const [i, reference] of references.entries()) {
      expectRouge(rouge(prediction, reference), item.rouge[i]!);
      expectRouge(rouge(prediction, reference, { stemmer: true }), item.rouge_stem[i]!);
    }
    const best = bestRouge(prediction, references);
    const bestStemmed = bestRouge(prediction, references, { stemmer: true });
    for (const type of ROUGE_TYPES) {
      expect(best[type].fmeasure).toBeCloseTo(item.rouge_max_f[type]!, TOLERANCE);
      expect(bestStemmed[type].fmeasure).toBeCloseTo(item.rouge_stem_max_f[type]!, TOLERANCE);
    }
  });

  test("BLEU", () => {
    for (const tokenizer of BLEU_TOKENIZERS) {
      expectBleu(sentenceBleu(prediction, references, { tokenizer }), item[`bleu_${tokenizer}`]);
    }
    const variants = [
      [{ lowercase: true }, item.bleu_13a_lowercase],
      [{ effectiveOrder: false }, item.bleu_13a_no_effective_order],
      [{ smoothing: "none" }, item.bleu_13a_smooth_none],
      [{ smoothing: "floor" }, item.bleu_13a_smooth_floor],
      [{ smoothing: "add-k" }, item.bleu_13a_smooth_addk],
    ] as const;
    for (const [options, score] of variants) {
      expect(sentenceBleu(prediction, references, options).score, JSON.stringify(options)).toBeCloseTo(score, TOLERANCE);
    }
    const tokens = (tokenizer: "13a" | "intl") => splitWhitespace(tokenizeForBleu(stripRight(prediction), tokenizer)).join(" ");
    expect([tokens("13a"), tokens("intl")]).toEqual([item.tok_13a, item.tok_intl]);
  });

  test("chrF", () => {
    expect(sentenceChrf(prediction, references)).toBeCloseTo(item.chrf, TOLERANCE);
    expect(sentenceChrf(prediction, references, { wordOrder: 2 })).toBeCloseTo(item["chrf++"], TOLERANCE);
  });

  test("SQuAD", () => {
    expect(normalizeAnswer(prediction)).toBe(item.squad_normalized);
    for (const [version, expected] of [
      ["1.1", item.squad11],
      ["2.0", item.squad20],
    ] as const) {
      const { exactMatch, f1 } = squad(prediction, references, version);
      expect(exactMatch).toBe(expected.em);
      expect(f1).toBeCloseTo(expected.f1, TOLERANCE);
    }
  });
});

// The corpora contain pairs that the file does not list. Therefore this checks only the step from statistics to score;
// the statistics are checked for each pair above.
test.each(golden.corpora.map((corpus) => [corpus.name, corpus] as const))("corpus BLEU of %s follows from its statistics", (_, corpus) => {
  for (const tokenizer of BLEU_TOKENIZERS) {
    const expected = corpus[`bleu_${tokenizer}`];
    const statistics = {
      counts: expected.counts,
      totals: expected.totals,
      predictionLength: expected.sys_len,
      referenceLength: expected.ref_len,
    };
    expectBleu(bleuFromStatistics(statistics), expected);
  }
});

test("a corpus adds up the statistics of its sentences", () => {
  const predictions = golden.items.map((item) => item.prediction);
  const references = golden.items.map((item) => item.references);
  const { counts, totals, predictionLength, referenceLength } = corpusBleu(predictions, references);
  const sum = (pick: (bleu: BleuGolden) => number) => golden.items.reduce((total, item) => total + pick(item.bleu_13a), 0);
  expect(counts).toEqual([0, 1, 2, 3].map((n) => sum((bleu) => bleu.counts[n]!)));
  expect(totals).toEqual([0, 1, 2, 3].map((n) => sum((bleu) => bleu.totals[n]!)));
  expect([predictionLength, referenceLength]).toEqual([sum((bleu) => bleu.sys_len), sum((bleu) => bleu.ref_len)]);
});

test("corpus chrF of one sentence is that sentence's", () => {
  const { prediction, references, chrf } = golden.items[10]!;
  expect(corpusChrf([prediction], [references])).toBeCloseTo(chrf, TOLERANCE);
});
