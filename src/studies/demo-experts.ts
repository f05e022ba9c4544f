/** @file The demo's training: the pool of recipes/pools/demo.yaml, made by a farm on this machine, and one LoRA for all tasks together.
 *
 *      OUT/pool/         pool.json and the experts: PEFT adapter, gates, statistics, model card
 *      OUT/pool.farm/    what a stopped farm goes on from
 *      OUT/multitask/    one LoRA on the union of the tasks' data
 *      OUT/runs/<name>/  the learning curves
 *
 *  Everything depends only on the seed. Finished parts are not repeated. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HELD_IN_TASKS, trainingExamples } from "../demo/tasks.ts";
import { copyCurves } from "../evaluation/report/read-curves.ts";
import type { CrewOptions } from "../fleet/crew.ts";
import { failed, runFarm } from "../fleet/farm.ts";
import { readPoolRecipe } from "../fleet/recipe-file.ts";
import { type LoraSetting, lora } from "./lora.ts";

/** The recipe of the pool. */
export const DEMO_RECIPE = fileURLToPath(new URL("../../recipes/pools/demo.yaml", import.meta.url));
const PROGRAM = { file: fileURLToPath(new URL("../../bin/skein.js", import.meta.url)), args: ["farm", "job"] };
/** Training examples of each task, as in the recipe. */
export const NUM_EXAMPLES = 2000;
const MULTITASK_STEPS = 200;

type FarmHooks = Pick<CrewOptions, "signal" | "onEvent" | "onWarning">;

/** Makes the pool of a seed in OUT/pool, or what is missing of it, and returns its folder.
 *  @throws TrainingError when an expert fails, StoppedError when the signal aborts. */
export async function demoPool(out: string, seed: number, hooks: FarmHooks = {}): Promise<string> {
  const recipe = await readPoolRecipe(DEMO_RECIPE, { seed });
  const { pool, experts, runs } = await runFarm(recipe, { ...hooks, out: join(out, "pool"), program: PROGRAM, withoutEvaluation: true });
  if (experts.some(({ state }) => state === "failed")) throw failed(experts, recipe.path);
  for (const folder of runs) await copyCurves(folder, join(out, "runs"));
  return pool;
}

/** Trains the LoRA on the union of the tasks' data, unless it is there, and returns its folder. */
export async function demoMultitask(setting: LoraSetting): Promise<string> {
  const folder = join(setting.out, "multitask");
  const training = HELD_IN_TASKS.flatMap((task) => trainingExamples(task, NUM_EXAMPLES, setting.seed));
  await lora(setting, "multitask", folder, { training, steps: MULTITASK_STEPS });
  return folder;
}
