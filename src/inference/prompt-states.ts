/** @file One vector for each prompt: the base model's states after its last layer, averaged over the prompt's tokens. */

import type { HostTensor } from "../base/tensor.ts";
import { toFloat } from "../graph/ops/elementwise.ts";
import { pooled, readPrompt } from "../routing/moa.ts";
import type { Model } from "./model.ts";
import type { Prompts } from "./prompts.ts";
import { plain } from "./woven.ts";

/** float32 [batch, hidden] */
export async function promptStates({ base, runner }: Model, { inputIds, attentionMask }: Prompts): Promise<HostTensor<"float32">> {
  return runner.session(
    { graph: "prompt states" },
    plain,
    (graph, parts) => {
      const states = readPrompt(graph, base.architecture, parts());
      graph.output("states", pooled(states, toFloat(graph.int("attention_mask", "batch", "sequence")), "mean"));
    },
    async (session) => {
      const { states } = await session.run({ input_ids: inputIds, attention_mask: attentionMask });
      return states as HostTensor<"float32">;
    },
  );
}
