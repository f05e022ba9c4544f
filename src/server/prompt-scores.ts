/** @file Log-probabilities of a prompt's own tokens, and the likeliest ones in their places: what `echo` reports.
 *
 *      logits [batch, sequence, vocabulary] -> log softmax -> that of the next token, and the best k; nothing else is fetched */

import { type HostTensor, int64, padded } from "../base/tensor.ts";
import { gatherElements, reshape, unsqueeze } from "../graph/ops/movement.ts";
import { logSoftmax, topK } from "../graph/ops/reduce.ts";
import { batchFeeds } from "../inference/batch.ts";
import type { Model } from "../inference/model.ts";
import { rowFeedsOf } from "../inference/row-feeds.ts";
import { logitsOf } from "../models/logits.ts";
import { badField } from "./problem.ts";

export interface NextToken {
  /** Of the token that stands there. */
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

const BATCH_BYTES = 2 ** 27; // of logits in one run

/** For each prompt, and each of its tokens but the first: how likely it was, and what was likeliest. */
export async function promptScores(model: Model, prompts: readonly (readonly number[])[], top: number): Promise<NextToken[][]> {
  const { architecture } = model.base;
  if (architecture.kind === "encoder-decoder") {
    throw badField("echo", "A model with an encoder reads its prompt whole: its tokens have no log-probabilities.", "unsupported_value");
  }
  const results: NextToken[][] = [];
  const order = prompts.map((_, i) => i).sort((a, b) => prompts[b]!.length - prompts[a]!.length);
  for (let start = 0; start < order.length; ) {
    const width = prompts[order[start]!]!.length;
    const fitting = Math.max(1, Math.floor(BATCH_BYTES / (4 * width * architecture.vocabularySize)));
    const rows = order.slice(start, start + (model.woven.readsWholeRows ? 1 : Math.min(fitting, 32)));
    const scored = await scoredBatch(
      model,
      rows.map((i) => prompts[i]!),
      top,
    );
    for (const [row, i] of rows.entries()) results[i] = scored[row]!;
    start += rows.length;
  }
  return results;
}

async function scoredBatch(model: Model, prompts: readonly (readonly number[])[], top: number): Promise<NextToken[][]> {
  const { base, runner, woven } = model;
  const { ids, mask } = padded(prompts);
  const feeds = batchFeeds({ inputIds: ids, attentionMask: mask }, base.architecture);
  const rows = await rowFeedsOf(woven, { inputIds: ids }, feeds);
  const k = Math.max(1, Math.min(top, base.architecture.vocabularySize));
  const { own, best, values } = await runner.session(
    { graph: "prompt scores", k },
    woven,
    (graph, parts) => {
      const logprobs = logSoftmax(logitsOf(graph, base.architecture, parts()));
      const labels = graph.int("labels", "batch", "sequence");
      const likeliest = topK(logprobs, k);
      graph.output("own", reshape(gatherElements(logprobs, unsqueeze(labels, -1)), "batch", "sequence"));
      graph.output("best", likeliest.indices);
      graph.output("values", likeliest.values);
    },
    (session) => session.run({ ...woven.feeds, ...rows, ...feeds, labels: nextTokens(ids) }),
  );
  const width = ids.shape[1]!;
  const data = {
    own: (own as HostTensor<"float32">).data,
    best: (best as HostTensor<"int64">).data,
    values: (values as HostTensor<"float32">).data,
  };
  return prompts.map(({ length }, row) =>
    Array.from({ length: length - 1 }, (_, t) => {
      const at = row * width + t;
      const places = Array.from({ length: Math.min(top, k) }, (_, i) => at * k + i);
      return { logprob: data.own[at]!, top: places.map((i) => ({ id: Number(data.best[i]), logprob: data.values[i]! })) };
    }),
  );
}

/** Each token's successor in its row; the last of a row has token 0, which nobody reads. */
function nextTokens({ shape, data }: HostTensor<"int64">): HostTensor<"int64"> {
  const [rows = 0, width = 0] = shape;
  const next = int64(shape);
  for (let row = 0; row < rows; row++) next.data.set(data.subarray(row * width + 1, (row + 1) * width), row * width);
  return next;
}
