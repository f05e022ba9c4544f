/** @file Which expert of a pool knows a text: three measures, side by side.
 *
 *    share        the part of the routing weight that the expert has on the text's tokens, at each layer and over all modules
 *    loss         of the text with the expert alone, in nats per token; less is better
 *    similarity   the largest cosine between the text and the expert's examples, as retrieval compares them
 *
 *  For a decoder-only model the loss is of the text itself, or of `answer` after it; an encoder-decoder model needs the answer. */

import type { Expert } from "../adapters/expert.ts";
import { OptionError } from "../base/errors.ts";
import { throwIfStopped } from "../base/stopped.ts";
import { layerOf } from "../evaluation/report/modules.ts";
import { encodeAnswer } from "../evaluation/scoring/encode.ts";
import { promptRoutes } from "../evaluation/scoring/prompt-routes.ts";
import { scoreTokens } from "../evaluation/scoring/score-tokens.ts";
import { BASE_EMBEDDER, baseEmbedder, textPrompts } from "../inference/embedder.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { plain, singleAdapter } from "../inference/woven.ts";
import { routerNamed, usualRouter } from "../methods/registry.ts";
import { librariesOf, similarities } from "../routing/retrieval.ts";
import { promptIds } from "../text/prompt-ids.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** One expert's measures on a text. */
export interface ProbedExpert {
  readonly name: string;
  /** Share of the routing weight over all modules and tokens, in 0..1. */
  readonly share: number;
  /** The share at each layer, in the order of the layers. */
  readonly layers: readonly number[];
  /** Nats per token with this expert alone; absent where the model has no loss for the text. */
  readonly loss?: number;
  /** Cosine with its nearest example; absent without embedded examples. */
  readonly similarity?: number;
}
/** A text and the experts of a pool. */
export interface Probe {
  readonly text: string;
  readonly router: string;
  readonly layers: readonly string[];
  /** The base's loss without any expert. */
  readonly baseLoss?: number;
  /** In the pool's order. */
  readonly experts: readonly ProbedExpert[];
  /** Why a column is missing, in sentences. */
  readonly notes: readonly string[];
}
/** How texts are probed. */
export interface ProbeOptions {
  /** The router, by name and options. Default: phatgoose where every expert has gates, else arrow. */
  readonly router?: string | undefined;
  readonly topK?: number | undefined;
  /** What follows each text; its loss counts instead of the text's. */
  readonly answer?: string | undefined;
  readonly signal?: AbortSignal;
}

/** Probes each text. The model is the base; the experts are those of a pool on it.
 *  @throws OptionError without experts, PoolError for experts that the router cannot score, StoppedError when the signal aborts. */
export async function probe(
  model: Model,
  tokenizer: Tokenizer,
  experts: readonly Expert[],
  texts: readonly string[],
  options: ProbeOptions = {},
): Promise<Probe[]> {
  if (experts.length === 0) {
    throw new OptionError({
      code: "option-needs-pool",
      data: { options: ["experts"] },
      what: "There are no experts to compare.",
      fix: "Give a pool of experts.",
    });
  }
  const name = options.router ?? usualRouter(experts);
  const pool = withWoven(model, new RoutedPool(experts, model.base.modules, { router: routerNamed(name, { topK: options.topK }) }));
  const losses = await lossesOf(model, tokenizer, experts, texts, options);
  const near = experts.every(({ embeddings }) => embeddings?.embedder === BASE_EMBEDDER)
    ? await nearest(model, tokenizer, experts, texts)
    : undefined;
  const notes = [
    ...(losses ? [] : ["An encoder-decoder model has no loss of a text without an answer after it."]),
    ...(near ? [] : ["Retrieval is left out: not every expert has examples embedded by the base."]),
  ];
  const probes: Probe[] = [];
  for (const [i, text] of texts.entries()) {
    throwIfStopped(options.signal, "evaluation");
    const { layers, shares } = await sharesOf(pool, tokenizer, text, experts.length);
    const [baseLoss, ...own] = losses?.[i] ?? [];
    probes.push({
      text,
      router: name,
      layers,
      ...(baseLoss !== undefined && { baseLoss }),
      experts: experts.map((expert, z) => ({
        name: expert.name,
        share:
          shares.reduce((sum, { share, modules }) => sum + share[z]! * modules, 0) / shares.reduce((sum, { modules }) => sum + modules, 0),
        layers: shares.map(({ share }) => share[z]!),
        ...(own[z] !== undefined && { loss: own[z] }),
        ...(near && { similarity: near[i]![z]! }),
      })),
      notes,
    });
  }
  return probes;
}

interface LayerShare {
  /** Of each expert; sums to 1. */
  readonly share: readonly number[];
  readonly modules: number;
}

/** Each expert's share of the weight, by layer. */
async function sharesOf(
  pool: Model,
  tokenizer: Tokenizer,
  text: string,
  count: number,
): Promise<{ layers: string[]; shares: LayerShare[] }> {
  const byLayer = new Map<string, { sums: number[]; modules: number }>();
  for (const [module, { experts, weights }] of await promptRoutes(pool, tokenizer, text)) {
    const layer = layerOf(module);
    const own = byLayer.get(layer) ?? { sums: Array<number>(count).fill(0), modules: 0 };
    byLayer.set(layer, own);
    const total = weights.data.reduce((sum, weight) => sum + weight, 0);
    own.modules++;
    experts.data.forEach((expert, at) => {
      own.sums[Number(expert)]! += weights.data[at]! / total;
    });
  }
  const shares = [...byLayer.values()].map(({ sums, modules }) => ({ share: sums.map((sum) => sum / modules), modules }));
  return { layers: [...byLayer.keys()], shares };
}

/** By text: the loss of the base, then of each expert alone; undefined where a text has none. */
async function lossesOf(
  model: Model,
  tokenizer: Tokenizer,
  experts: readonly Expert[],
  texts: readonly string[],
  { answer, signal }: ProbeOptions,
): Promise<number[][] | undefined> {
  const { architecture, modules } = model.base;
  if (architecture.kind === "encoder-decoder" && answer === undefined) return undefined;
  const start = tokenizer.bosId ?? tokenizer.eosId;
  const requests = texts.map((text) => {
    const context = promptIds(tokenizer, architecture.kind, text);
    if (answer !== undefined) return { context, continuations: [encodeAnswer(tokenizer, architecture, { prompt: text, answer })] };
    const hasStart = context[0] === start || start === undefined;
    return { context: hasStart ? context.slice(0, 1) : [start], continuations: [hasStart ? context.slice(1) : context] };
  });
  const losses: number[][] = texts.map(() => []);
  for (const woven of [plain, ...experts.map(({ adapter }) => singleAdapter(adapter, modules))]) {
    throwIfStopped(signal, "evaluation");
    const scores = await scoreTokens(withWoven(model, woven), requests, signal ? { signal } : {});
    for (const [i, [likelihood]] of scores.entries()) losses[i]!.push(-likelihood!.sum / likelihood!.tokens);
  }
  return losses;
}

async function nearest(model: Model, tokenizer: Tokenizer, experts: readonly Expert[], texts: readonly string[]): Promise<number[][]> {
  const queries = await baseEmbedder(withWoven(model, plain)).embed(textPrompts(texts, tokenizer));
  return similarities(queries, librariesOf(experts, BASE_EMBEDDER));
}
