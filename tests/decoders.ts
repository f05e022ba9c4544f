/** @file Helpers for tests of decoder-only models: states of each layer, greedy tokens by full forwards, random checkpoints. */

import { type HostTensor, int64 } from "../src/base/tensor.ts";
import { createGraph } from "../src/graph/graph.ts";
import { type Batch, batchFeeds } from "../src/inference/batch.ts";
import type { LoadedModel } from "../src/library/model.ts";
import { baseSeams } from "../src/models/embedding.ts";
import { logitsOf } from "../src/models/logits.ts";
import { fileWeights } from "../src/models/weights.ts";
import { type Fetches, Session } from "../src/runtime/session.ts";

/** Every observed state of the architecture, by name. */
export async function hiddenStates(model: LoadedModel, batch: Batch): Promise<Fetches> {
  const graph = createGraph("states");
  const weights = fileWeights(graph, model.base.checkpoint);
  logitsOf(graph, model.base.architecture, { weights, ...baseSeams(weights), observe: (name, state) => graph.output(name, state) });
  await using session = await Session.load(graph);
  return await session.run(batchFeeds(batch, model.base.architecture));
}

/** The greedy continuation of each row, with one full forward pass per token. ids, mask: [batch, sequence] */
export async function greedy(model: LoadedModel, ids: HostTensor<"int64">, mask: HostTensor<"int64">, count: number): Promise<number[][]> {
  const [batch, start] = ids.shape as [number, number];
  const rows = Array.from({ length: batch }, (_, row) => [...ids.data.subarray(row * start, (row + 1) * start)]);
  const masks = Array.from({ length: batch }, (_, row) => [...mask.data.subarray(row * start, (row + 1) * start)]);
  for (let step = 0; step < count; step++) {
    const shape = [batch, start + step];
    const inputIds = int64(shape, BigInt64Array.from(rows.flat()));
    const { logits } = await model.forward({ inputIds, attentionMask: int64(shape, BigInt64Array.from(masks.flat())) });
    const vocabulary = logits.shape[2]!;
    rows.forEach((row, i) => {
      const last = logits.data.subarray(((i + 1) * (start + step) - 1) * vocabulary, (i + 1) * (start + step) * vocabulary);
      row.push(BigInt(last.indexOf(Math.max(...last))));
      masks[i]!.push(1n);
    });
  }
  return rows.map((row) => row.slice(start).map(Number));
}
