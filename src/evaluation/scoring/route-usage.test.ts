import { expect, test } from "vitest";
import { byteTokenizer } from "../../../tests/byte-tokenizer.ts";
import { golden } from "../../../tests/golden.ts";
import type { Expert } from "../../adapters/expert.ts";
import type { Model } from "../../inference/model.ts";
import { withWoven } from "../../inference/model.ts";
import { RoutedPool } from "../../inference/routed-pool.ts";
import { loadModel } from "../../library/model.ts";
import { routerNamed } from "../../methods/registry.ts";
import { t5Experts } from "../../routing/experts.test-helper.ts";
import { taskOf } from "../tasks/jsonl.ts";
import { entropyOf, routeUsage } from "./route-usage.ts";

const tokenizer = byteTokenizer(160);
const tasks = [
  taskOf(
    "t",
    ["a", "longer input", "b c"].map((input, i) => ({ input, target: "xyz".slice(0, i + 1) })),
  ),
];

async function expertsOf(model: Model, count: number): Promise<Expert[]> {
  return (await t5Experts(model.base.modules)).slice(0, count);
}

test("use sums to 1, padding has no part in it, and one expert has all of it", async () => {
  await using model = await loadModel(golden("t5/model"));
  const router = routerNamed("phatgoose");
  const three = withWoven(model, new RoutedPool(await expertsOf(model, 3), model.base.modules, { router }));
  const batched = await routeUsage(three, tokenizer, tasks);
  const single = await routeUsage(three, tokenizer, tasks, { batchSize: 1 });
  batched.tasks[0]!.modules.forEach(({ module, use }, m) => {
    expect(use.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 6);
    use.forEach((share, expert) => {
      expect(single.tasks[0]!.modules[m]!.module).toBe(module);
      expect(share).toBeCloseTo(single.tasks[0]!.modules[m]!.use[expert]!, 4);
    });
  });
  const one = withWoven(model, new RoutedPool(await expertsOf(model, 1), model.base.modules, { router }));
  const alone = await routeUsage(one, tokenizer, tasks);
  for (const { use } of alone.tasks[0]!.modules) expect(use).toEqual([1]);
});

test("entropy is 0 for one expert and 1 for all alike", () => {
  expect(entropyOf([1, 0, 0])).toBe(0);
  expect(entropyOf([0.25, 0.25, 0.25, 0.25])).toBeCloseTo(1, 12);
});
