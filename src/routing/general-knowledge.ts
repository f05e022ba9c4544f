/** @file General Knowledge Subtraction (GenKnowSub; reference: huggingface/peft, tuners/lora/arrow.py, gen_know_sub): experts without
 *  what all experts know, so that routers tell them apart by what is their own.
 *
 *      A_z <- A_z - mean_g A_g,   B_z <- B_z - mean_g B_g        g: the general experts; z: each of the others
 *
 *  Factor by factor, as PEFT has it, so the product changes by more than the mean product. Both what an expert is scored by and
 *  what it computes are of the new factors; general experts are no candidates. A module that no general expert covers stays. */

import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { loraOf } from "./stack.ts";

export interface Candidates {
  /** The experts that are not general ones, changed. */
  readonly candidates: readonly Expert[];
  /** What becomes of one that joins them later. */
  readonly joining: (expert: Expert) => Expert;
}

/** The experts that are not named in `general`, with the mean of those that are taken off. */
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
