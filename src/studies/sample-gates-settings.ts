/** @file The experts and tasks on which gates from samples are compared: the demo's, and those of the study on public data. */

import { DEMO_BASE, evaluationTask } from "../demo/evaluation-task.ts";
import { HELD_IN_TASKS, HELD_OUT_TASKS, trainingExamples } from "../demo/tasks.ts";
import { openExperts } from "../inference/open.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import type { ExpertOptions, GateOptions, GateRecipe } from "../training/recipe.ts";
import { demoPool, NUM_EXAMPLES } from "./demo-experts.ts";
import { type PublicJob, publicExperts } from "./public-experts.ts";
import { expertRows } from "./public-files.ts";
import { PUBLIC_EXPERTS } from "./public-sets.ts";
import { asked, publicTasks } from "./public-tasks.ts";
import type { SampleGatesJob } from "./sample-gates.ts";

type Setting = Omit<SampleGatesJob, "counts" | "prompts" | "seed" | "out" | "onPart"> & {
  readonly model: LoadedModel;
  /** By expert: the questions of its training rows, without their answers. */
  readonly questions: ReadonlyMap<string, readonly string[]>;
};

const DEMO_TESTS = 50;

/** The demo of one seed; its folder is made where it is not there. */
export async function demoSetting(out: string, seed: number): Promise<Setting> {
  const model = await loadModel(DEMO_BASE);
  const tokenizer = await model.tokenizer();
  const tasks = [...HELD_IN_TASKS, ...HELD_OUT_TASKS].map((task) => evaluationTask(task, DEMO_TESTS, seed));
  const experts = await openExperts(model, await demoPool(out, seed));
  const gates = { steps: 100, batchSize: 32, microBatchSize: 32 }; // as in the demo's recipe
  const asked = HELD_IN_TASKS.map((task) => trainingExamples(task, NUM_EXAMPLES, seed).map(({ input }) => input));
  const questions = new Map(HELD_IN_TASKS.map(({ name }, i) => [name, asked[i]!]));
  return { model, tokenizer, experts, tasks, gates, samples: { sampleLength: 16 }, questions };
}

interface PublicSetting {
  readonly base: string;
  readonly data: string;
  readonly seed: number;
  readonly expert: ExpertOptions & { readonly steps: number };
  readonly gates: GateRecipe;
}
const SIZES = { heldIn: 8, heldOut: 20, joined: 8, numJoined: 8 };
const GATE_STEPS = 100;

/** The public study of one seed, whose experts are in `out`. */
export async function publicSetting(out: string, { base, data, seed, expert, gates }: PublicSetting): Promise<Setting> {
  const model = await loadModel(base);
  const tokenizer = await model.tokenizer();
  const options: GateOptions = { ...gates, steps: GATE_STEPS };
  const training = { expert, gates: options, gateSteps: [GATE_STEPS], routerSteps: 0 };
  const job: PublicJob = { model, tokenizer, baseName: base, data, out, seed, training };
  const found = await publicExperts(job);
  const experts = found.experts.map((one, i) => ({ ...one, gates: found.gates.get(GATE_STEPS)![i]! }));
  const tasks = await publicTasks(data, seed, SIZES);
  const questions = new Map<string, string[]>();
  for (const set of PUBLIC_EXPERTS)
    questions.set(
      set.name,
      (await expertRows(data, set, "train")).map(({ input }) => asked(input)),
    );
  return { model, tokenizer, experts, tasks, gates: options, samples: { sampleLength: 48 }, questions };
}
