/** @file One vector for each prompt: the base model's states after its last layer, averaged over the prompt's tokens. */

import type { HostTensor } from "../base/tensor.ts";
import { toFloat } from "../graph/ops/elementwise.ts";
import { baseSeams } from "../models/embedding.ts";
import { fileWeights } from "../models/weights.ts";
import { pooled, readPrompt } from "../routing/moa.ts";
import type { Model } from "./model.ts";
import type { Prompts } from "./overlay.ts";

/** float32 [batch, hidden] */
export async function promptStates(model: Model, { inputIds, attentionMask }: Prompts): Promise<HostTensor<"float32">> {
  const session = await model.session("prompt states", (graph) => {
    const weights = fileWeights(graph, model.checkpoint);
    const states = readPrompt(graph, model.architecture, { weights, ...baseSeams(weights) });
    graph.output("states", pooled(states, toFloat(graph.int("attention_mask", "batch", "sequence")), "mean"));
  });
  const { states } = await session.run({ input_ids: inputIds, attention_mask: attentionMask });
  return states as HostTensor<"float32">;
}
