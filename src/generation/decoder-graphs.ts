/** @file The graphs that generation runs: one that encodes a prompt, and one for prefill chunks and decode steps alike.
 *
 *      encode   input_ids, attention_mask [batch, encoder]            -> cross.<i>.keys, cross.<i>.values
 *      decode   decoder_ids, positions, decoder_mask [batch, sequence], -> logits [batch, 1, vocabulary] of the last token
 *               cache_lengths [batch], <path>.past.*, cross.*            and <path>.new.keys, <path>.new.values
 *
 *  Rows of unequal length are padded on the left, so that every row's last token is the last of the batch. */

import { createGraph } from "../graph/graph.ts";
import { cast, less } from "../graph/ops/elementwise.ts";
import { gather, integers, range, unsqueeze } from "../graph/ops/movement.ts";
import type { Shape } from "../graph/sizes.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Architecture, EncoderDecoder, KeysAndValues, Parts } from "../models/architecture.ts";
import { type Cache, cachedAttention, fullAttention, noDropout, type Places } from "../models/attention.ts";
import type { Seams } from "../models/embedding.ts";
import type { Weights } from "../models/linear.ts";
import { outline, slots } from "../models/logits.ts";
import { routeNames } from "../routing/route-names.ts";
import type { Route } from "../routing/router.ts";
import type { KvBuffer } from "./kv-store.ts";
import { type PromptWork, scoreOutputs, sumOutputs } from "./prompt-reading.ts";

/** The parts of a model that the graphs use: its weights, and its projections and embeddings with the woven-in changes. */
export interface Base extends Seams {
  readonly weights: Weights;
}

const crossNames = (layer: number) => ({ keys: `cross.${layer}.keys`, values: `cross.${layer}.values` });
const pastNames = (path: string) => ({ keys: `${path}.past.keys`, values: `${path}.past.values` });
const newNames = (path: string) => ({ keys: `${path}.new.keys`, values: `${path}.new.values` });

/** Fetches each module's route: [batch, sequence, k]. */
export function fetchRoutes(graph: Graph): (module: string, route: Route) => void {
  return (module, { experts, weights }) => {
    const names = routeNames(module);
    graph.output(names.experts, experts);
    graph.output(names.weights, weights);
  };
}

/** Fetches the keys and values of every cross-attention. */
export function buildEncode(graph: Graph, architecture: EncoderDecoder, base: Base): void {
  const ids = graph.int("input_ids", "batch", "encoder");
  const places = slots(graph, "encoder", graph.int("attention_mask", "batch", "encoder"));
  const parts: Parts = { ...base, dropout: noDropout, attention: fullAttention(places) };
  architecture.crossKeysAndValues(architecture.encode(ids, parts), parts).forEach(({ keys, values }, layer) => {
    graph.output(crossNames(layer).keys, keys);
    graph.output(crossNames(layer).values, values);
  });
}

/** Fetches the logits after each row's last token, and the keys and values of all tokens. `work`: what else is computed from the tokens. */
export function buildDecode(graph: Graph, architecture: Architecture, base: Base, plan: DecodePlan, work?: PromptWork): void {
  const ids = graph.int("decoder_ids", "batch", "sequence");
  const self: Places = {
    positions: graph.int("positions", "batch", "sequence"),
    valid: graph.int("decoder_mask", "batch", "sequence"),
  };
  const cache = fedCache(graph, (name, value) => graph.output(name, value));
  const encoder =
    architecture.kind === "encoder-decoder" ? slots(graph, "encoder", graph.int("attention_mask", "batch", "encoder")) : undefined;
  const parts: Parts = { ...base, dropout: noDropout, attention: cachedAttention(self, cache, encoder ? { encoder } : {}) };
  const hidden =
    architecture.kind === "encoder-decoder"
      ? architecture.decode(ids, fedCross(graph, plan), parts)
      : architecture.decode(ids, self.positions, parts);
  const last = (x: Float) => gather(x, integers(graph, [-1]), 1);
  if (work?.kind === "scores") {
    const logits = architecture.head(hidden, parts);
    graph.output("logits", last(logits));
    scoreOutputs(graph, logits, work.top);
    return;
  }
  graph.output("logits", architecture.head(last(hidden), parts));
  if (work?.kind === "embedding") sumOutputs(graph, hidden, self.valid!);
}

function fedCache(graph: Graph, output: (name: string, value: Float) => void): Cache {
  return {
    past: (path, kvHeads, size) => {
      const past = pastNames(path);
      return {
        keys: graph.float(past.keys, "batch", kvHeads, "capacity", size),
        values: graph.float(past.values, "batch", kvHeads, "capacity", size),
      };
    },
    store: (path, { keys, values }) => {
      const names = newNames(path);
      output(names.keys, keys);
      output(names.values, values);
    },
    // A token's slot is its position; slots at or after the row's length are empty.
    get places(): Places {
      const positions = unsqueeze(range(graph, "capacity"), 0);
      return { positions, valid: cast(less(positions, unsqueeze(graph.int("cache_lengths", "batch"), 1)), "int64") };
    },
  };
}

function fedCross(graph: Graph, { cross }: DecodePlan): KeysAndValues[] {
  return cross.map((shapes, layer) => ({
    keys: graph.float(crossNames(layer).keys, ...shapes.keys),
    values: graph.float(crossNames(layer).values, ...shapes.values),
  }));
}

/** The sizes of the arrays that a model caches for the tokens it has read. */
export interface DecodePlan {
  /** Keys and values of the tokens a decoder has read. */
  readonly past: readonly KvBuffer[];
  /** Keys and values of the encoder's output, for each layer of the decoder. */
  readonly cross: readonly { readonly keys: Shape; readonly values: Shape }[];
}

const plans = new WeakMap<Architecture, DecodePlan>();

/** Found by building the graph once without weights. */
export function planOf(architecture: Architecture): DecodePlan {
  const known = plans.get(architecture);
  if (known) return known;
  const graph = createGraph("plan");
  const base = outline(graph);
  const cross = architecture.kind === "encoder-decoder" ? crossShapes(graph, architecture, base) : [];
  buildDecode(graph, architecture, base, { past: [], cross });
  const past = [...graph.inputs.values()].flatMap(({ name, shape }) => {
    const [, heads, , size] = shape;
    if (!name.endsWith(PAST_KEYS) || typeof heads !== "number" || typeof size !== "number") return [];
    const path = name.slice(0, -PAST_KEYS.length);
    const [fed, fetched] = [pastNames(path), newNames(path)];
    return (["keys", "values"] as const).map((part): KvBuffer => ({ fed: fed[part], fetched: fetched[part], heads, size }));
  });
  const plan = { past, cross };
  plans.set(architecture, plan);
  return plan;
}

const PAST_KEYS = pastNames("").keys;

/** The encoder's keys and values. They are fed under the same names as they are fetched. */
export function crossBuffers({ cross }: DecodePlan): KvBuffer[] {
  return cross.flatMap((shapes, layer) =>
    (["keys", "values"] as const).map((part): KvBuffer => {
      const [, heads, , size] = shapes[part];
      const name = crossNames(layer)[part];
      return { fed: name, fetched: name, heads: Number(heads), size: Number(size) };
    }),
  );
}

function crossShapes(graph: Graph, architecture: EncoderDecoder, base: Base): DecodePlan["cross"] {
  const encoded = graph.float("encoded", "batch", "encoder", architecture.hiddenSize);
  const parts: Parts = { ...base, dropout: noDropout, attention: fullAttention(slots(graph, "encoder")) };
  return architecture.crossKeysAndValues(encoded, parts).map(({ keys, values }) => ({ keys: keys.shape, values: values.shape }));
}
