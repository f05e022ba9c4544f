/** @file Proofs over the demo's base, for npm run check:webgpu: a trained pool generates on the device the greedy tokens that it generates on
 *  the CPU, and what is trained on the device answers as what is trained on the CPU. */

import { beforeAll, expect, test } from "vitest";
import type { Adapter } from "../src/adapters/adapter.ts";
import type { Gates } from "../src/adapters/expert.ts";
import { DEMO_BASE } from "../src/demo/evaluation-task.ts";
import { examples, HELD_IN_TASKS, HELD_OUT_TASKS, trainingExamples } from "../src/demo/tasks.ts";
import { generateBatch } from "../src/generation/generate.ts";
import { RoutedPool } from "../src/inference/routed-pool.ts";
import { type LoadedModel, loadModel } from "../src/library/model.ts";
import { phatgoose } from "../src/methods/phatgoose.ts";
import type { Engine } from "../src/runtime/engine.ts";
import { cpu, webgpu } from "../src/runtime/onnxruntime-node.ts";
import { asPairs } from "../src/studies/lora.ts";
import { trainExpert, trainGate } from "../src/training/train.ts";
import { trainExperts, trainGates } from "../src/training/train-together.ts";
import { webgpuMissing } from "./engines.ts";

const skipped = webgpuMissing ?? (process.env.SKEIN_DEVICE === "webgpu" ? undefined : "run by npm run check:webgpu");
const here = (name: string) => (skipped ? `${name} (skipped: ${skipped})` : name);

const SEED = 1;
const STEPS = 40;
const TASKS = HELD_IN_TASKS.slice(0, 3);
const OPTIONS = { steps: STEPS, batchSize: 4, microBatchSize: 4, seed: SEED };

interface Trained {
  readonly name: string;
  readonly adapter: Adapter;
  readonly gates: Gates;
}
const poolOf = (model: LoadedModel, experts: readonly Trained[]) =>
  model.withWoven(
    new RoutedPool(
      experts.map((expert) => ({ ...expert, warnings: [] })),
      model.base.modules,
      { router: phatgoose() },
    ),
  );
const opened = (engine: Engine) => loadModel(DEMO_BASE, { engine });
const dataOf = (task: (typeof TASKS)[number]) => asPairs(trainingExamples(task, 200, SEED));

/** Experts and gates of the first tasks, trained on the CPU, all at once. */
async function trainedTogether(model: LoadedModel): Promise<Trained[]> {
  const setting = { model, tokenizer: await model.tokenizer(), options: OPTIONS };
  const parts = TASKS.map((task) => ({ name: task.name, training: dataOf(task) }));
  const adapters = await trainExperts({ ...setting, experts: parts });
  const gates = await trainGates({ ...setting, experts: parts.map((part) => ({ ...part, expert: adapters.get(part.name)! })) });
  return TASKS.map(({ name }) => ({ name, adapter: adapters.get(name)!, gates: gates.get(name)! }));
}

/** An expert and its gates, trained alone. */
async function trainedAlone(engine: Engine): Promise<Trained> {
  await using model = await opened(engine);
  const [task] = TASKS;
  const setting = { model, tokenizer: await model.tokenizer(), training: dataOf(task!), options: OPTIONS };
  const adapter = await trainExpert(setting);
  return { name: task!.name, adapter, gates: await trainGate({ ...setting, expert: adapter }) };
}

/** Greedy tokens of the prompts of these tasks. */
async function answers(
  model: LoadedModel,
  tasks: readonly (typeof TASKS)[number][],
  each: number,
): Promise<readonly (readonly number[])[]> {
  const tokenizer = await model.tokenizer();
  const prompts = tasks.flatMap((task) => examples(task, "test", each, SEED)).map(({ input }) => tokenizer.encode(input));
  const completions = await generateBatch(model, prompts, { temperature: 0, maxNewTokens: 16 });
  return completions.map(({ ids }) => ids);
}

let pool: readonly Trained[];
beforeAll(async () => {
  if (skipped) return;
  await using model = await opened(cpu);
  pool = await trainedTogether(model);
});

test.skipIf(skipped)(here("a trained pool generates the greedy tokens of the CPU, of tasks that it knows and of compounds"), async () => {
  await using onCpu = await opened(cpu);
  await using onDevice = await opened(webgpu);
  const tasks = [...TASKS, ...HELD_OUT_TASKS.slice(3, 5)]; // of the second, each prompt needs two experts
  const expected = await answers(poolOf(onCpu, pool), tasks, 8);
  expect(await answers(poolOf(onDevice, pool), tasks, 8)).toEqual(expected);
  // The experts matter: without them the answers are others.
  expect(await answers(onCpu, tasks, 8)).not.toEqual(expected);
  expect(await answers(onDevice, tasks, 8)).toEqual(await answers(onCpu, tasks, 8));
});

test.skipIf(skipped)(here(`an expert and its gates that train for ${STEPS} steps answer as those of the CPU do`), async () => {
  const [own, expected] = [await trainedAlone(webgpu), await trainedAlone(cpu)];
  await using model = await opened(cpu);
  const others = pool.slice(1);
  for (const tasks of [TASKS.slice(0, 1), HELD_OUT_TASKS.slice(0, 1)]) {
    const wanted = await answers(poolOf(model, [expected, ...others]), tasks, 12);
    expect(await answers(poolOf(model, [own, ...others]), tasks, 12)).toEqual(wanted);
  }
});
