/** @file Texts as vectors: the mean of the model's last states, at unit length, with whatever is woven into it. */

import { type HostTensor, padded } from "../base/tensor.ts";
import type { Float } from "../graph/value.ts";
import type { Model } from "../inference/model.ts";
import { feedsOfRows } from "../inference/woven.ts";
import { pooledUnit } from "../models/bert.ts";
import { logitsOf } from "../models/logits.ts";

const ROWS = 16;

/** One vector [hidden] for each prompt. */
export async function embedded(model: Model, prompts: readonly (readonly number[])[]): Promise<Float32Array[]> {
  const rows = model.woven.readsWholeRows ? 1 : ROWS;
  const vectors: Float32Array[] = [];
  for (let start = 0; start < prompts.length; start += rows) vectors.push(...(await batch(model, prompts.slice(start, start + rows))));
  return vectors;
}

async function batch({ base, runner, woven }: Model, prompts: readonly (readonly number[])[]): Promise<Float32Array[]> {
  const { ids, mask } = padded(prompts);
  const wanted = base.architecture.kind === "encoder-decoder" ? "encoded" : "decoded";
  const rows = feedsOfRows(woven, (await woven.chooseRows?.({ inputIds: ids, attentionMask: mask })) ?? {});
  const { embedding } = await runner.session(
    { graph: "embed" },
    woven,
    (graph, parts) => {
      const observe = (name: string, state: Float) => {
        if (name === wanted) graph.output("embedding", pooledUnit(state, graph.int("attention_mask", "batch", "sequence")));
      };
      logitsOf(graph, base.architecture, { ...parts(), observe });
    },
    (session) => session.run({ ...woven.feeds, ...rows, input_ids: ids, attention_mask: mask }),
  );
  const { shape, data } = embedding as HostTensor<"float32">;
  const width = shape[1]!;
  return prompts.map((_, row) => data.slice(row * width, (row + 1) * width));
}
