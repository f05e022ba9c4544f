/** @file The demo trains its experts in its own process, and recipes/pools/demo.yaml in processes of their own: to the same bytes. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../tests/temporary-folder.ts";
import { DEMO_BASE } from "../demo/demo.ts";
import { RECIPE as DEMO, lora } from "../demo/experts.ts";
import { examples, HELD_IN_TASKS, trainingExamples } from "../demo/tasks.ts";
import { loadModel } from "../library/model.ts";
import { CARD_FILE } from "../storage/card.ts";
import { fileHash } from "../storage/files.ts";
import { expertJob, JOB_FILE } from "./job.ts";
import { readPoolRecipe } from "./recipe-file.ts";
import { runJob } from "./run-job.ts";
import { filesBelow } from "./store/trees.ts";

const RECIPE = fileURLToPath(new URL("../../recipes/pools/demo.yaml", import.meta.url));

const STEPS = 5; // enough to show that data, order and initial values are the same

test("the recipe's experts are the demo's: the same tasks and options, and the same bytes after a few steps", async () => {
  const recipe = await readPoolRecipe(RECIPE);
  const { experts } = recipe;
  expect(experts.map(({ name }) => name)).toEqual(HELD_IN_TASKS.map(({ name }) => name));
  for (const { training, gates, statistics, source } of experts) {
    expect([training.steps, gates?.steps, statistics?.examples, source.limit]).toEqual([
      DEMO.steps,
      DEMO.gateSteps,
      DEMO.numStatistics,
      DEMO.numExamples,
    ]);
  }
  const { folder: out } = temporaryFolder();
  await using model = await loadModel(DEMO_BASE);
  const task = HELD_IN_TASKS[0]!;
  const demo = { model, tokenizer: await model.tokenizer(), baseName: recipe.baseName, out, seed: recipe.seed };
  const validation = examples(task, "validation", 64, recipe.seed);
  await lora(demo, task.name, join(out, task.name), trainingExamples(task, DEMO.numExamples, recipe.seed), STEPS, validation);
  const short = { ...experts[0]!, training: { ...experts[0]!.training, steps: STEPS }, gates: undefined, statistics: undefined };
  const { job, folder } = await expertJob(recipe, short, await model.base.fingerprint(), join(out, "farm"));
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, JOB_FILE), JSON.stringify(job));
  await runJob(folder);
  const made = await hashes(join(folder, task.name));
  expect(made).toEqual(await hashes(join(out, task.name)));
  expect(Object.keys(made)).toContain("adapter_model.safetensors");
});

/** Of every file but the card, which names the data in its own words. */
async function hashes(expert: string): Promise<Record<string, string>> {
  const files = await filesBelow(expert, (path) => path !== CARD_FILE);
  const found: Record<string, string> = {};
  for (const [name, path] of files) found[name] = await fileHash(path);
  return found;
}
