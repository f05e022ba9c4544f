/** @file Trains and runs MoE-LoRA, the baseline that learns routers and LoRAs only from the text (routing/moa-token-router.ts). */

import type { LoraAdapter } from "../adapters/adapter.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import type { Base } from "../inference/base.ts";
import { identityOf, type Woven } from "../inference/woven.ts";
import { type LoraStack, stackedLoras } from "../routing/moa.ts";
import { tokenMixture, tokenRouterName } from "../routing/moa-token-router.ts";
import { type Learner, type Parameters, trainingSession } from "./learner.ts";

/** Trains all LoRAs and one router [experts, in] per module, from N(0, 0.02). */
export function moeLoraLearner(
  { modules, seams, forTraining, precision, engine }: Base,
  adapters: readonly LoraAdapter[],
  seed: number,
): Learner {
  const stack = stackedLoras(adapters, modules);
  const routers = [...stack.shapes].map(([module, shape]): [string, HostTensor<"float32">] => {
    const random = seededRandom(derivedSeed(seed, "router", module));
    const data = new Float32Array(adapters.length * shape.in).map(() => 0.02 * random.normal());
    return [tokenRouterName(module), float32([adapters.length, shape.in], data)];
  });
  return {
    kind: "moe-lora",
    initial: new Map([...stack.tensors, ...routers]),
    frozen: {},
    prepare: forTraining,
    session: trainingSession({ precision, engine }),
    build: (graph) => {
      const base = seams(graph);
      return { ...base, linear: tokenMixture(base.linear, stack) };
    },
  };
}

/** The trained mixture on top of a base model. */
export function moeLoraWoven({ modules }: Pick<Base, "modules">, adapters: readonly LoraAdapter[], parameters: Parameters): Woven {
  const stack: LoraStack = stackedLoras(adapters, modules);
  const shapes = [...stack.shapes].map(([module, { rank, scalings }]) => `${module}:${rank}:${scalings}`);
  const id = `moe-lora ${identityOf(parameters)}`;
  return {
    key: `moe-lora ${shapes.join()}`,
    id,
    batch: id,
    feeds: Object.fromEntries(parameters),
    experts: [],
    weave: (_, inner) => ({ ...inner, linear: tokenMixture(inner.linear, stack) }),
  };
}
