/** @file Adapters and pools of random numbers, for tests of generation. */

import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import type { Model } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { RowChoice } from "../inference/row-choices.ts";
import type { Woven } from "../inference/woven.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import type { Router } from "../routing/router.ts";

/** A LoRA on every module that has an input vector, and on embeddings unless left out, strong enough to matter. */
export function randomAdapter(model: Model, random: Random, { embeddings = true } = {}): LoraAdapter {
  const tensor = (...shape: [number, number]) =>
    float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => 0.1 * random.normal()),
    );
  const adapted = [...model.base.modules].filter(([, { embedding }]) => embeddings || !embedding);
  const modules = adapted.map(([module, { in: inputs, out, embedding }]): [string, LoraWeights] => [
    module,
    { rank: 4, scaling: 1, a: tensor(4, inputs), b: tensor(out, 4), ...(embedding && { embedding }) },
  ]);
  return { kind: "lora", modules: new Map(modules), warnings: [] };
}

/** Experts with gates. */
export function randomExperts(model: Model, count: number, seed = 2): Expert[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i): Expert => {
    const adapter = randomAdapter(model, random, { embeddings: false });
    const gates = new Map(
      [...adapter.modules].map(([module, { a }]) => {
        const width = a.shape[1]!;
        return [module, float32([width], Float32Array.from({ length: width }, random.normal))];
      }),
    );
    return { name: `expert ${i}`, adapter, gates, warnings: [] };
  });
}

export function randomPool(model: Model, { rows, router = phatgoose() }: { rows?: RowChoice; router?: Router } = {}): Woven {
  return new RoutedPool(randomExperts(model, 5), model.base.modules, { router, ...(rows && { rows }) });
}
