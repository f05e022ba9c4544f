/** @file Compares models for several domains, domain by domain: perplexity of the right answers, BLEU, ROUGE-L and exact match of greedy
 *  answers, and the accuracy of the routers. */

import { chunks } from "../../base/chunks.ts";
import { throwIfStopped } from "../../base/stopped.ts";
import type { HostTensor } from "../../base/tensor.ts";
import { generateBatch } from "../../generation/generate.ts";
import type { MoaWoven } from "../../inference/moa-woven.ts";
import { type Model, withWoven } from "../../inference/model.ts";
import { promptsOf } from "../../inference/prompts.ts";
import type { Woven } from "../../inference/woven.ts";
import { type DecisionRule, decided } from "../../routing/moa-decision.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { corpusBleu } from "../metrics/bleu.ts";
import { mean } from "../metrics/bootstrap.ts";
import { exactMatch } from "../metrics/classification.ts";
import { rouge } from "../metrics/rouge.ts";
import { encodeAnswer, encodeContext, endsOfTurns } from "../scoring/encode.ts";
import { scoreTokens } from "../scoring/score-tokens.ts";
import type { Example } from "../tasks/task.ts";

export interface DomainTexts {
  readonly name: string;
  readonly examples: readonly Pick<Example, "input" | "target" | "isRendered">[];
}

export const DOMAIN_METRICS = ["perplexity", "bleu", "rougeL", "exactMatch"] as const;
export type DomainMetric = (typeof DOMAIN_METRICS)[number];
/** Perplexity per token; BLEU in 0..100; ROUGE-L and exact match in 0..1. */
export type DomainScores = Readonly<Record<DomainMetric, number>>;

export interface DomainOptions {
  /** Longest answer, in tokens. */
  readonly maxTokens: number;
  /** Longest prompt, in tokens; a longer one is cut at its beginning. */
  readonly maxInputTokens?: number;
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** The model's scores in each domain. `wovenOf` returns what is woven in for a domain (the same for all if domains are unknown). */
export async function scoreDomains(
  model: Model,
  tokenizer: Tokenizer,
  domains: readonly DomainTexts[],
  wovenOf: (domain: string) => Woven,
  options: DomainOptions,
): Promise<ReadonlyMap<string, DomainScores>> {
  const scores = new Map<string, DomainScores>();
  for (const { name, examples } of domains) {
    throwIfStopped(options.signal, "evaluation");
    scores.set(name, await domainScores(withWoven(model, wovenOf(name)), tokenizer, examples, options));
  }
  return scores;
}

async function domainScores(
  model: Model,
  tokenizer: Tokenizer,
  examples: DomainTexts["examples"],
  { maxTokens, maxInputTokens, batchSize = 32, signal }: DomainOptions,
): Promise<DomainScores> {
  const { architecture } = model.base;
  const requests = examples.map(({ input, target, isRendered }) => ({
    context: encodeContext(tokenizer, architecture, input, { maxTokens: maxInputTokens, isRendered }),
    continuations: [encodeAnswer(tokenizer, architecture, { prompt: input, answer: target, isRendered })],
  }));
  const likelihoods = (await scoreTokens(model, requests, { batchSize, ...(signal && { signal }) })).flat();
  const answers = await generateBatch(
    model,
    requests.map(({ context }) => context),
    {
      temperature: 0,
      repetitionPenalty: 1,
      maxNewTokens: maxTokens,
      stopIds: endsOfTurns(model, tokenizer, examples),
      batchSize,
      ...(signal && { signal }),
    },
  );
  const texts = answers.map(({ ids }) => tokenizer.decode(ids, { skipSpecialTokens: true }).trim());
  const targets = examples.map(({ target }) => target);
  const total = (of: (one: (typeof likelihoods)[number]) => number) => likelihoods.reduce((sum, one) => sum + of(one), 0);
  return {
    perplexity: Math.exp(-total(({ sum }) => sum) / total(({ tokens }) => tokens)),
    bleu: corpusBleu(
      texts,
      targets.map((target) => [target]),
    ).score,
    rougeL: mean(texts.map((text, i) => rouge(text, targets[i]!).rougeL.fmeasure)),
    exactMatch: exactMatch(texts, targets),
  };
}

/** The accuracy of a MoA model's routers. */
export interface RouterReport {
  readonly domains: readonly string[];
  /** For each layer, the share of texts whose domain its router finds. */
  readonly layers: readonly { readonly layer: string; readonly accuracy: number }[];
  /** For each rule, the share of texts that it assigns to the right domain; per-layer is the mean over layers. */
  readonly rules: Readonly<Record<DecisionRule, number>>;
  /** confusion[i][j]: texts of domain i that the vote assigns to domain j. */
  readonly confusion: readonly (readonly number[])[];
}

/** Runs the routers of a MoA model on texts with known domains. */
export async function routerReport(
  model: Model,
  tokenizer: Tokenizer,
  moa: MoaWoven,
  texts: readonly DomainTexts[],
): Promise<RouterReport> {
  const { experts: domains, layers } = moa;
  const told: { own: number; scores: HostTensor<"float32"> }[] = [];
  for (const { name, examples } of texts) {
    for (const batch of chunks(examples, BATCH)) {
      const prompts = promptsOf(
        batch.map(({ input, isRendered }) => encodeContext(tokenizer, model.base.architecture, input, { isRendered })),
      );
      told.push({ own: domains.indexOf(name), scores: await moa.scores(prompts) });
    }
  }
  const named = (rule: DecisionRule) => told.flatMap(({ own, scores }) => decided(scores, rule).map((decision) => ({ own, ...decision })));
  const accuracyOf = (rule: DecisionRule) =>
    mean(named(rule).flatMap(({ own, domains: each }) => each.map((domain) => (domain === own ? 1 : 0))));
  const votes = named("vote");
  return {
    domains,
    layers: layers.map((layer, l) => ({ layer, accuracy: mean(votes.map(({ own, votes: each }) => (each[l] === own ? 1 : 0))) })),
    rules: { vote: accuracyOf("vote"), last: accuracyOf("last"), "per-layer": accuracyOf("per-layer") },
    confusion: domains.map((_, own) =>
      domains.map((_, other) => votes.filter((one) => one.own === own && one.domains[0] === other).length),
    ),
  };
}
const BATCH = 64;
