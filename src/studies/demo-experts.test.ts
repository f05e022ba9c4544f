/** @file The demo's pool is that of recipes/pools/demo.yaml: an expert for each held-in task, with the paper's options. */

import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { HELD_IN_TASKS } from "../demo/tasks.ts";
import { readPoolRecipe } from "../fleet/recipe-file.ts";
import { DEMO_RECIPE, NUM_EXAMPLES } from "./demo-experts.ts";

test("the recipe has an expert for each held-in task, with the paper's rank, rate and gate steps", async () => {
  const { experts, base } = await readPoolRecipe(DEMO_RECIPE);
  expect(base).toBe(fileURLToPath(new URL("../../assets/demo-base", import.meta.url)));
  expect(experts.map(({ name, source }) => [name, source.demo])).toEqual(HELD_IN_TASKS.map(({ name }) => [name, name]));
  for (const { source, training, gates, statistics } of experts) {
    expect(source.limit).toBe(NUM_EXAMPLES);
    expect(training).toMatchObject({ rank: 16, lr: 5e-3, steps: 120, batchSize: 32 });
    expect(gates).toMatchObject({ lr: 5e-3, steps: 100, batchSize: 32 });
    expect(statistics?.examples).toBe(300);
  }
});

test("another seed changes the data and the start of every expert", async () => {
  const [first, second] = await Promise.all([1, 2].map((seed) => readPoolRecipe(DEMO_RECIPE, { seed })));
  expect([first?.seed, second?.seed]).toEqual([1, 2]);
  second?.experts.forEach(({ seed, training }, i) => {
    const other = first?.experts[i];
    expect([seed, other?.seed]).toEqual([2, 1]);
    expect(training.seed).not.toBe(other?.training.seed);
  });
});
