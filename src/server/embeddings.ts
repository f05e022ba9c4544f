/** @file Texts as vectors where the model reads prompts whole: the mean of its last states, at unit length, with whatever is woven into it.
 *  Other models compute them while they read a prompt (generation/prompt-reading.ts). */

import { type HostTensor, padded } from "../base/tensor.ts";
import type { Float } from "../graph/value.ts";
import type { Model } from "../inference/model.ts";
import { feedsOfRows } from "../inference/woven.ts";
import { pooledUnit } from "../models/bert.ts";
import { logitsOf } from "../models/logits.ts";

/** The vector [hidden] of a prompt. */
export async function wholePromptEmbedding({ base, runner, woven }: Model, prompt: readonly number[]): Promise<Float32Array> {
  const { ids, mask } = padded([prompt]);
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
    (session) => runner.run(session, woven, { ...rows, input_ids: ids, attention_mask: mask }),
  );
  return (embedding as HostTensor<"float32">).data.slice();
}
