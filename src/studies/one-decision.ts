/** @file One decision for all modules and tokens of a text, in place of one at each: the router's shares over the prompt, summed over modules
 *  and tokens, choose a few experts, and the text may use only these. Which experts act together is then one choice, as in training. */

import type { Expert } from "../adapters/expert.ts";
import { adapterTensors } from "../adapters/in-graph.ts";
import { float32 } from "../base/tensor.ts";
import { contentHash, type Method } from "../evaluation/comparison/methods.ts";
import { type Model, withWoven } from "../inference/model.ts";
import type { Prompts } from "../inference/prompts.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { RowChoice } from "../inference/row-choices.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { BARRED, type Router } from "../routing/router.ts";

/** PHATGOOSE with two experts for all modules and tokens of a text. */
export function decidedOnce(model: Model, experts: readonly Expert[]): Method {
  const state = contentHash(experts.map(({ name, adapter, gates = [] }) => [name, [...adapterTensors(adapter)], [...gates]]));
  const woven = () => oneDecision(model, experts, { router: phatgoose(), topK: 2, count: 2 });
  return { kind: "overlay", name: "one decision", woven, state: `one decision ${state}` };
}

/** A pool in which each row uses only the `count` experts with the largest share of routing weight over its prompt; among them the router
 *  chooses `topK` as usual. Bases that read and write one sequence only. */
export function oneDecision(
  model: Model,
  experts: readonly Expert[],
  { router, topK, count }: { readonly router: Router; readonly topK: number; readonly count: number },
): RoutedPool {
  const free = new RoutedPool(experts, model.base.modules, { router, topK });
  const rows: RowChoice = async (prompts, members) => {
    const bias = (await sharesOf(withWoven(model, free), prompts, members.length)).flatMap((shares) => {
      const best = new Set([...shares.keys()].sort((a, b) => shares[b]! - shares[a]!).slice(0, count));
      return Array.from(shares, (_, expert) => (best.has(expert) ? 0 : BARRED));
    });
    return float32([prompts.inputIds.shape[0]!, members.length], bias);
  };
  return free.withRows(rows);
}

/** By row: each expert's routing weight, summed over the modules and tokens of the prompt. */
async function sharesOf(model: Model, { inputIds, attentionMask }: Prompts, numExperts: number): Promise<Float64Array[]> {
  const { routes } = await model.runner.forward(model.woven, { inputIds, attentionMask }, { routes: true });
  const [batch = 0, length = 0] = inputIds.shape;
  const shares = Array.from({ length: batch }, () => new Float64Array(numExperts));
  for (const { experts, weights } of routes?.values() ?? []) {
    const k = experts.shape[2]!;
    for (const [at, expert] of experts.data.entries()) {
      const token = Math.floor(at / k);
      if (attentionMask.data[token]) shares[Math.floor(token / length)]![Number(expert)]! += weights.data[at]!;
    }
  }
  return shares;
}
