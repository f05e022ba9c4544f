import { beforeAll, expect, test } from "vitest";
import { golden, goldenTensors } from "../../tests/golden.ts";
import type { Expert } from "../adapters/expert.ts";
import { generateBatch } from "../generation/generate.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { openMethod, parsedMethod } from "../methods/registry.ts";
import { uniform } from "../methods/uniform.ts";
import { t5Experts } from "../routing/experts.test-helper.ts";
import { checkMemory, poolBytes } from "./pool-memory.ts";
import type { Prompts } from "./prompts.ts";
import { ResidentExperts } from "./resident-experts.ts";
import { RoutedPool } from "./routed-pool.ts";
import { baseRows, eachRow, namedExperts } from "./row-choices.ts";

let experts: Expert[];
beforeAll(async () => {
  await using model = await loadModel(golden("t5/model"));
  experts = await t5Experts(model.base.modules);
});

/** Each prompt's first token names its expert; 0 for the base alone. */
const byFirstToken = async ({ inputIds: { shape, data } }: Prompts) =>
  Array.from({ length: shape[0]! }, (_, row) => [(Number(data[row * shape[1]!]) % (experts.length + 1)) - 1]);

const few = ({ base }: LoadedModel, most: number) => new ResidentExperts(experts, base.modules, { most, choose: byFirstToken });
const all = ({ base }: LoadedModel) =>
  new RoutedPool(experts, base.modules, {
    router: uniform({ topK: 1 }),
    rows: async (prompts, members, own) => {
      const chosen = (await byFirstToken(prompts)).map(([z]) => (z! < 0 ? baseRows : namedExperts([experts[z!]!.name])));
      return eachRow(chosen)(prompts, members, own);
    },
  });

test("answers and logits are those of a pool in memory, whatever number of experts is resident", async () => {
  await using model = await loadModel(golden("t5/model"));
  const { int } = await goldenTensors("t5/golden.safetensors");
  const batch = { inputIds: int("input_ids"), attentionMask: int("attention_mask"), decoderInputIds: int("decoder_input_ids") };
  const whole = model.withWoven(all(model));
  const prompts = [3, 8, 4, 16, 5, 3].map((first) => [first, 7, 9, 11, 1]);
  const settings = { temperature: 0, ignoreEos: true, maxNewTokens: 5 };
  const [logits, answers] = [(await whole.forward(batch)).logits, (await generateBatch(whole, prompts, settings)).map(({ ids }) => ids)];
  expect(new Set(answers.map(String)).size).toBeGreaterThan(1);
  for (const most of [1, 2, experts.length]) {
    const woven = few(model, most);
    const part = model.withWoven(woven);
    const own = (await part.forward(batch)).logits;
    const furthest = own.data.reduce((far, value, i) => Math.max(far, Math.abs(value - logits.data[i]!)), 0);
    expect(furthest).toBeLessThan(1e-5); // the sums have another order
    expect((await generateBatch(part, prompts, settings)).map(({ ids }) => ids)).toEqual(answers);
    for (const [row, prompt] of prompts.entries()) expect((await generateBatch(part, [prompt], settings))[0]!.ids).toEqual(answers[row]);
    expect(woven.resident).toBeLessThanOrEqual(Math.max(most, 1));
  }
});

test("methods that mix experts for every token refuse to keep a part of them, by name", async () => {
  await using model = await loadModel(golden("t5/model"));
  const open = (text: string) => openMethod({ base: model.base, runner: model.runner, experts, maxResident: 2 }, parsedMethod(text));
  for (const name of ["phatgoose", "arrow", "smear", "merged", "uniform"]) {
    await expect(open(name)).rejects.toThrow(new RegExp(`Router ${name} mixes experts for every token[\\s\\S]*single, retrieval, moa`));
  }
  const woven = await open("single:expert=e2");
  expect(woven).toBeInstanceOf(ResidentExperts);
  const { inputIds } = { inputIds: (await goldenTensors("t5/golden.safetensors")).int("input_ids") };
  const decoderInputIds = (await goldenTensors("t5/golden.safetensors")).int("decoder_input_ids");
  const own = await model.withWoven(woven).forward({ inputIds, decoderInputIds });
  const whole = await openMethod({ base: model.base, runner: model.runner, experts }, parsedMethod("single:expert=e2"));
  const { logits } = await model.withWoven(whole).forward({ inputIds, decoderInputIds });
  expect(own.logits.data.every((value, i) => Math.abs(value - logits.data[i]!) < 1e-5)).toBe(true);
  expect((woven as ResidentExperts).resident).toBe(1);
});

test("a pool that cannot fit into the memory is refused with the numbers", () => {
  const bytes = poolBytes(experts);
  const numbers = experts.flatMap(({ adapter, gates }) => [
    ...[...adapter.modules.values()].flatMap((weights) => ("a" in weights ? [weights.a.data.length, weights.b.data.length] : [])),
    ...[...gates!.values()].map(({ data }) => data.length),
  ]);
  expect(bytes).toBe(4 * numbers.reduce((sum, count) => sum + count, 0));
  expect(() => checkMemory(experts, { canLoadOnDemand: false, memory: bytes })).not.toThrow();
  expect(() => checkMemory(experts, { canLoadOnDemand: false, memory: bytes - 1 })).toThrow(
    /experts take [\d.]+ GB[\s\S]*single, retrieval, moa/,
  );
  expect(() => checkMemory(experts, { canLoadOnDemand: true, memory: bytes / 2 })).toThrow(/maxResident: [1-9]/);
});
