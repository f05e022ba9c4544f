import { expect, test } from "vitest";
import { golden } from "../../../tests/golden.ts";
import type { LoraAdapter } from "../../adapters/adapter.ts";
import { derivedSeed, seededRandom } from "../../base/random.ts";
import { Rows } from "../../generation/rows.test-helper.ts";
import { MoaWoven } from "../../inference/moa-woven.ts";
import { singleAdapter } from "../../inference/woven.ts";
import { type LoadedModel, loadModel } from "../../library/model.ts";
import { routerLayers } from "../../routing/moa.ts";
import { freshLora } from "../../training/learner.ts";
import { freshRouters } from "../../training/moa-learner.ts";
import { targetModules } from "../../training/train.ts";
import { scoreTokens } from "../scoring/score-tokens.ts";

const BASES = ["t5", "llama"];
const DOMAINS = ["a", "b"];
const PROMPTS = [
  [5, 9, 11, 7],
  [20, 3, 8],
];
const ANSWERS = [
  [30, 31],
  [40, 12, 6],
];

function randomLora(model: LoadedModel, seed: number): LoraAdapter {
  const targets = targetModules(model.base, undefined);
  const fresh = freshLora(model.base.modules, { targets, rank: 3, scaling: 1, seed });
  const modules = [...fresh.modules].map(([module, lora]) => {
    const random = seededRandom(derivedSeed(seed, module));
    const b = { ...lora.b, data: lora.b.data.map(() => random.normal()) };
    return [module, { ...lora, a: { ...lora.a, data: lora.a.data.map((v) => 10 * v) }, b }] as const;
  });
  return { ...fresh, modules: new Map(modules) };
}

/** The model with one of two LoRAs; the length of the first prompt selects it. */
function withBoth(model: LoadedModel, adapters: readonly LoraAdapter[]): LoadedModel {
  const routers = freshRouters(routerLayers(model.base.architecture), 2, model.base.architecture.hiddenSize, 1);
  const moa = { domains: DOMAINS, routers, pooling: "mean", states: "base", training: {} } as const;
  const experts = adapters.map((adapter, i) => ({ name: DOMAINS[i]!, adapter, warnings: [] }));
  const dispatcher = async ({ attentionMask: { data, shape } }: { attentionMask: { data: BigInt64Array; shape: readonly number[] } }) =>
    Array.from({ length: shape[0]! }, (_, row) => (data.subarray(row * shape[1]!, (row + 1) * shape[1]!).includes(0n) ? 1 : 0));
  return model.withWoven(new MoaWoven(model, moa, experts, { dispatcher }));
}

test.each(BASES)("%s: rows of different domains score and decode side by side as under their LoRAs alone", async (base) => {
  await using model = await loadModel(golden(`${base}/model`));
  const adapters = [randomLora(model, 1), randomLora(model, 2)];
  const requests = PROMPTS.map((context, i) => ({ context, continuations: [ANSWERS[i]!, [50, 51]] }));
  const both = withBoth(model, adapters);
  const together = await scoreTokens(both, requests);
  const logits = (await Rows.start(both, PROMPTS)).logits.data;
  const size = logits.length / 2;
  for (const [row, adapter] of adapters.entries()) {
    const single = model.withWoven(singleAdapter(adapter, model.base.modules));
    const alone = await scoreTokens(single, [requests[row]!]);
    together[row]!.forEach(({ sum }, c) => {
      expect(sum).toBeCloseTo(alone[0]![c]!.sum, 3);
    });
    const own = (await Rows.start(single, [PROMPTS[row]!])).logits.data;
    own.forEach((value, i) => {
      expect(logits[row * size + i]).toBeCloseTo(value, 3);
    });
  }
  expect(together[0]![1]!.sum).not.toBeCloseTo(together[1]![1]!.sum, 1);
});
