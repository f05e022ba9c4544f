import { expect, test } from "vitest";
import { golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { singleAdapter } from "../inference/woven.ts";
import { loadModel } from "../library/model.ts";
import { t5Experts } from "../routing/experts.test-helper.ts";
import { combinedLora, searchWeights } from "../routing/lorahub.ts";
import { loraOf } from "../routing/stack.ts";
import { lorahub } from "./lorahub.ts";

const TARGET = [0.8, -0.4, 0, 1.2];
const bowl = async (w: readonly number[]) => w.reduce((sum, value, i) => sum + (value - TARGET[i]!) ** 2, 0);

test("the search finds a bowl's bottom, repeats itself and keeps its limit", async () => {
  const asked: number[][] = [];
  const loss = async (w: readonly number[]) => {
    asked.push([...w]);
    return bowl(w);
  };
  const found = await searchWeights(loss, 4, { evaluations: 200, seed: 1, penalty: 0 });
  expect(found.objective).toBeLessThan(0.02);
  expect(asked).toHaveLength(200);
  expect(asked[0]).toEqual([0, 0, 0, 0]);
  expect(Math.max(...asked.flat().map(Math.abs))).toBeLessThanOrEqual(1.5);
  expect(await searchWeights(bowl, 4, { evaluations: 200, seed: 1, penalty: 0 })).toEqual(found);
});

test("the penalty pulls weights that do nothing to 0", async () => {
  const flat = async () => 1;
  expect((await searchWeights(flat, 3, { seed: 2 })).weights).toEqual([0, 0, 0]);
});

test("weights found for a few examples lower their loss, and make the adapter they say", async () => {
  await using model = await loadModel(golden("t5/model"));
  const experts = (await t5Experts(model.base.modules)).slice(0, 3);
  const rows = await goldenTensors("t5/golden.safetensors");
  const { shape, data } = rows.int("labels");
  const width = shape[1]!;
  const examples = [0, 1].map((i) => ({
    inputs: [...rows.int("input_ids").data.subarray(24 * i, 24 * i + 15)].map(Number),
    labels: [...data.subarray(width * i, width * (i + 1))].map(Number).filter((id) => id >= 0),
  }));
  const before = await lorahub(model, experts, examples, { evaluations: 1 });
  const after = await lorahub(model, experts, examples, { evaluations: 40, seed: 3 });
  expect(after.objective).toBeLessThan(before.objective);

  // One expert with weight 1 gives that expert.
  const batch = {
    inputIds: rows.int("input_ids"),
    attentionMask: rows.int("attention_mask"),
    decoderInputIds: rows.int("decoder_input_ids"),
  };
  const logits = async (adapter: Adapter) => (await model.withWoven(singleAdapter(adapter, model.base.modules)).forward(batch)).logits;
  expect(maxDifference(await logits(combinedLora(experts, [0, 1, 0])), await logits(experts[1]!.adapter))).toBeLessThan(1e-4);
});

test("factors are summed, not products", () => {
  const lora = (value: number) => ({
    rank: 1,
    scaling: 0.5,
    a: { dtype: "float32" as const, shape: [1, 1], data: Float32Array.of(value) },
    b: { dtype: "float32" as const, shape: [1, 1], data: Float32Array.of(10 * value) },
  });
  const expert = (value: number) => ({
    name: `e${value}`,
    adapter: { kind: "lora" as const, modules: new Map([["m", lora(value)]]), warnings: [] },
    warnings: [],
  });
  const sum = loraOf({ name: "sum", adapter: combinedLora([expert(1), expert(2)], [1, 0.5]), warnings: [] }).get("m")!;
  expect(sum.a.data[0]! * sum.b.data[0]! * sum.scaling).toBeCloseTo((1 + 1) * (10 + 10) * 0.5, 5);
});
