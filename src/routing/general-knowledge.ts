/** @file General Knowledge Subtraction (GenKnowSub; reference: huggingface/peft, tuners/lora/arrow.py, gen_know_sub): subtracts the mean
 *  of general experts from the others, so that routers compare the experts by their specific parts.
 *
 *      A_z <- A_z - mean_g A_g,   B_z <- B_z - mean_g B_g        g: the general experts; z: each of the others
 *
 *  It works factor by factor, as in PEFT, so the product changes by more than the mean product. The new factors are used for both the
 *  scores and the update. General experts are not candidates. A module that no general expert covers stays unchanged. */

import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { loraOf } from "./stack.ts";

export interface Candidates {
  /** The changed experts, without the general ones. */
  readonly candidates: readonly Expert[];
  /** Changes an expert that is added later. */
  readonly joining: (expert: Expert) => Expert;
}

/** The experts that are not in `general`, minus the mean of those that are. */
export function withoutGeneralKnowledge(experts: readonly Expert[], general: readonly string[], where?: string): Candidates {
  const place = where === undefined ? {} : { where };
  const unknown = general.find((name) => !experts.some((expert) => expert.name === name));
  if (unknown !== undefined || general.length === 0) {
    const fix = `Name some of: ${experts.map(({ name }) => name).join(", ")}.`;
    throw new PoolError({
      code: "pool-expert-unknown",
      data: { expert: unknown ?? "", known: experts.map(({ name }) => name) },
      what: `The pool has no general expert "${unknown ?? ""}".`,
      ...place,
      fix,
    });
  }
  const known = experts.filter(({ name }) => general.includes(name));
  const others = experts.filter(({ name }) => !general.includes(name));
  if (others.length === 0)
    throw new PoolError({
      code: "pool-all-general",
      what: "Every expert of the pool is a general one.",
      ...place,
      fix: "Leave at least one to choose.",
    });
  const joining = (expert: Expert) => purified(expert, known);
  return { candidates: others.map(joining), joining };
}

function purified(expert: Expert, general: readonly Expert[]): Expert {
  const modules = [...loraOf(expert)].map(([module, lora]): [string, LoraWeights] => {
    const means = general.flatMap((other) => loraOf(other).get(module) ?? []);
    if (means.length === 0) return [module, lora];
    const odd = means.find(({ rank }) => rank !== lora.rank);
    if (odd) {
      throw new PoolError({
        code: "pool-ranks-differ",
        data: { module },
        what: `Expert "${expert.name}" has rank ${lora.rank}, a general expert rank ${odd.rank}.`,
        where: module,
        fix: "General knowledge is subtracted factor by factor: use general experts of the others' rank.",
      });
    }
    const without = (factor: "a" | "b") =>
      lessMean(
        lora[factor],
        means.map((other) => other[factor]),
      );
    return [module, { ...lora, a: without("a"), b: without("b") }];
  });
  return { ...expert, adapter: { kind: "lora", modules: new Map(modules), warnings: expert.adapter.warnings } };
}

function lessMean({ shape, data }: HostTensor<"float32">, others: readonly HostTensor<"float32">[]): HostTensor<"float32"> {
  return float32(
    shape,
    data.map((value, i) => value - others.reduce((sum, other) => sum + other.data[i]! / others.length, 0)),
  );
}
