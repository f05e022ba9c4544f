/** @file How alike the experts of a pool are where some have no gates: by their updates. */

import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import { openBase } from "../inference/base.ts";
import { loadExpert } from "../storage/expert.ts";
import { poolCards } from "./pool-cards.ts";

test("without gates, similarity is the cosine of the updates; one that changes nothing is like none", async () => {
  const { modules } = await openBase(golden("llama/model"));
  const trained = await loadExpert(golden("llama/adapter_step5"), modules, { name: "trained" });
  const random = seededRandom(3);
  const other = withB(trained, "other", (value, size) => value + size * random.normal());
  const untrained = withB(trained, "untrained", () => 0);
  const experts = [trained, other, untrained];
  const members = experts.map((expert) => ({ expert, root: ".", created: 0 }));
  const { similarity, comparedBy } = await poolCards("colors", { standard: "arrow", members });
  expect(comparedBy).toBe("updates");
  const [one, two] = [trained, other].map(updates) as [number[], number[]];
  const cosine = dot(one, two) / Math.sqrt(dot(one, one) * dot(two, two));
  expect(Math.abs(cosine)).toBeGreaterThan(0.1);
  expect(Math.abs(cosine)).toBeLessThan(0.95);
  expect(similarity[0]![1]).toBeCloseTo(cosine, 3); // cards have four places
  expect(similarity[1]![0]).toBe(similarity[0]![1]);
  expect([similarity[0]![0], similarity[1]![1]]).toEqual([1, 1]);
  expect(similarity[2]).toEqual([null, null, null]);
});

/** The expert with another B. `size`: root mean square of a module's B. */
function withB(expert: Expert, name: string, change: (value: number, size: number) => number): Expert {
  const { adapter } = expert;
  if (adapter.kind !== "lora") throw new Error("the golden adapter is a LoRA");
  const changed = [...adapter.modules].map(([module, weights]): [string, LoraWeights] => {
    const { shape, data } = weights.b;
    const size = Math.sqrt(dot(data, data) / data.length);
    return [
      module,
      {
        ...weights,
        b: float32(
          shape,
          Float32Array.from(data, (value) => change(value, size)),
        ),
      },
    ];
  });
  return { ...expert, name, adapter: { ...adapter, modules: new Map(changed) } };
}

/** All entries of scaling B A, every module's, in double precision. */
function updates({ adapter }: Expert): number[] {
  if (adapter.kind !== "lora") throw new Error("the golden adapter is a LoRA");
  return [...adapter.modules.values()].flatMap(({ a, b, rank, scaling }) => {
    const [width, out] = [a.shape[1]!, b.shape[0]!];
    return Array.from({ length: out * width }, (_, at) => {
      const [row, column] = [Math.floor(at / width), at % width];
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += b.data[row * rank + r]! * a.data[r * width + column]!;
      return scaling * sum;
    });
  });
}

function dot(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += one[i]! * other[i]!;
  return sum;
}
