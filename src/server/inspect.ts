/** @file How a router scored every expert for every token of a prompt and its answer, those that lost too.
 *
 *      p = softmax(scores over all candidates)     entropy = -sum p log p / log(candidates)     margin = p_best - p_second */

import { type HostTensor, int64, padded } from "../base/tensor.ts";
import { outputModules } from "../evaluation/scoring/trace.ts";
import { batchFeeds } from "../inference/batch.ts";
import type { Model } from "../inference/model.ts";
import { rowFeedsOf } from "../inference/row-feeds.ts";
import { logitsOf } from "../models/logits.ts";
import type { InspectedTokens, InspectRequest } from "./backend.ts";
import { badField } from "./problem.ts";

const PREFIX = "scores.";
const NOTHING: InspectedTokens = { modules: [], entropy: [], margin: [] };

/** The prompt's and the answer's parts; both are empty under a method that does not score single tokens. */
export async function inspected(
  model: Model,
  prompt: readonly number[],
  { answer, at }: Pick<InspectRequest, "answer" | "at">,
): Promise<{ prompt: InspectedTokens; answer: InspectedTokens }> {
  const { architecture } = model.base;
  const tokens = at?.part === "prompt" ? prompt : answer;
  if (at && at.token >= tokens.length) throw badField("at.token", `The ${at.part} has ${tokens.length} tokens.`);
  const isAsked = (part: "prompt" | "answer") => (at?.part === part ? at.token : undefined);
  if (architecture.kind === "decoder-only") {
    const all = [...(await scoresOf(model, [...prompt, ...answer.slice(0, -1)]))];
    const part = (start: number, count: number, token: number | undefined) => read(all, start, count, token);
    return {
      prompt: part(0, prompt.length, isAsked("prompt")),
      answer: answer.length === 0 ? NOTHING : part(prompt.length - 1, answer.length, isAsked("answer")),
    };
  }
  const given = [architecture.decoderStartId, ...answer.slice(0, -1)];
  const all = [...(await scoresOf(model, prompt, given))];
  const output = outputModules(architecture); // the decoder's modules that read the encoder's states belong to the prompt
  const isOutput = ([module]: readonly [string, unknown]) => output.has(module);
  return {
    prompt: read(
      all.filter((one) => !isOutput(one)),
      0,
      prompt.length,
      isAsked("prompt"),
    ),
    answer: answer.length === 0 ? NOTHING : read(all.filter(isOutput), 0, answer.length, isAsked("answer")),
  };
}

/** Module -> float32 [1, tokens, experts]. */
async function scoresOf(model: Model, ids: readonly number[], decoderIds?: readonly number[]): Promise<Map<string, HostTensor<"float32">>> {
  const { base, runner, woven } = model;
  if (woven.experts.length === 0) return new Map();
  const { ids: inputIds, mask: attentionMask } = padded([ids]);
  const decoderInputIds = decoderIds && int64([1, decoderIds.length], decoderIds);
  const batch = { inputIds, attentionMask, ...(decoderInputIds && { decoderInputIds }) };
  const feeds = batchFeeds(batch, base.architecture);
  const rows = await rowFeedsOf(woven, batch, feeds);
  return runner.session(
    { graph: "inspect" },
    woven,
    (graph, parts) => {
      let scored = 0;
      const onRoute: Parameters<typeof parts>[0] = (module, { scores }) => {
        if (!scores) return;
        graph.output(PREFIX + module, scores);
        scored++;
      };
      const logits = logitsOf(graph, base.architecture, parts(onRoute));
      if (scored === 0) graph.output("logits", logits); // a graph needs an output
    },
    async (session) => {
      const names = session.outputs.filter((name) => name.startsWith(PREFIX));
      if (names.length === 0) return new Map();
      const results = await runner.run(session, woven, { ...rows, ...feeds });
      return new Map(names.map((name) => [name.slice(PREFIX.length), results[name] as HostTensor<"float32">]));
    },
  );
}

/** `count` tokens from `start` on, of the modules that scored so many. */
function read(
  all: readonly (readonly [string, HostTensor<"float32">])[],
  start: number,
  count: number,
  asked: number | undefined,
): InspectedTokens {
  const rows = all.filter(([, { shape }]) => shape[1]! >= start + count);
  const of = ({ shape, data }: HostTensor<"float32">, token: number) => {
    const experts = shape[2]!;
    return data.subarray((start + token) * experts, (start + token + 1) * experts);
  };
  const told = Array.from({ length: count }, (_, token) => rows.map(([, scores]) => spread(of(scores, token))));
  return {
    modules: rows.map(([module]) => module),
    entropy: told.map((one) => one.map(({ entropy }) => entropy)),
    margin: told.map((one) => one.map(({ margin }) => margin)),
    ...(asked !== undefined && {
      scores: rows.map(([, scores]) => [...of(scores, asked)].map((one) => (Number.isFinite(one) ? one : null))),
    }),
  };
}

/** Entropy and margin of one token's scores at one module, with four digits. */
function spread(scores: Float32Array): { entropy: number; margin: number } {
  const open = [...scores].filter(Number.isFinite).sort((a, b) => b - a);
  if (open.length < 2) return { entropy: 0, margin: open.length };
  const weights = open.map((score) => Math.exp(score - open[0]!));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => weight / total);
  const entropy = -shares.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0) / Math.log(open.length);
  return { entropy: rounded(entropy), margin: rounded(shares[0]! - shares[1]!) };
}

const rounded = (value: number) => Math.round(value * 1e4) / 1e4;
