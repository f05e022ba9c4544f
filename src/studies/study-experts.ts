/** @file The study's training: sixteen experts with statistics, gates of every length, and one LoRA for all tasks together.
 *
 *      OUT/experts/<task>/        PEFT adapter and statistics
 *      OUT/gates/<task>/<steps>/  the expert's gates after so many steps
 *      OUT/multitask/             one LoRA on the union of the tasks' data
 *
 *  The learning rate of gates is constant after its warm-up, so one run of 300 steps passes through the results of shorter runs.
 *  Gates after 100 steps equal those of a run of 100 steps; the others differ only by their warm-up. Finished parts are not
 *  repeated. */

import { join } from "node:path";
import type { Expert, Gates } from "../adapters/expert.ts";
import { EMBEDDING_FILE } from "../adapters/file-names.ts";
import { derivedSeed } from "../base/random.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { examples } from "../demo/tasks.ts";
import { loadExpert } from "../storage/expert.ts";
import { exists } from "../storage/files.ts";
import { gatherStatistics } from "../training/statistics.ts";
import { gateSnapshots } from "./gate-snapshots.ts";
import { asPairs, type LoraSetting, lora } from "./lora.ts";
import { STUDY_HELD_IN, studyExamples } from "./study-tasks.ts";

/** The compared lengths of gate training. */
export const GATE_STEPS = [0, 10, 30, 100, 300] as const;
export type GateSteps = (typeof GATE_STEPS)[number];

/** The amount of training: the study's, or less for a trial. */
export interface StudySize {
  readonly numExamples: number;
  readonly steps: number;
  readonly multitaskSteps: number;
  readonly gateSteps: readonly GateSteps[];
  readonly numStatistics: number;
}
export const STUDY_SIZE: StudySize = { numExamples: 2000, steps: 120, multitaskSteps: 260, gateSteps: GATE_STEPS, numStatistics: 300 };

const BATCH = 32;
const WARMUP = 6; // steps, as in a run of 100

export interface StudyExperts {
  /** Without gates. */
  readonly experts: readonly Expert[];
  /** By steps: the gates of each expert, in their order. */
  readonly gates: ReadonlyMap<number, readonly Gates[]>;
  readonly multitask: string;
}

/** Trains the missing parts and reads all of them. */
export async function studyExperts(job: LoraSetting, size: StudySize = STUDY_SIZE): Promise<StudyExperts> {
  const experts: Expert[] = [];
  const gates = new Map<number, Gates[]>(size.gateSteps.map((steps) => [steps, []]));
  for (const task of STUDY_HELD_IN) {
    const folder = join(job.out, "experts", task.name);
    const training = studyExamples(task, size.numExamples, job.seed);
    const validation = examples(task, "validation", 64, job.seed);
    await lora(job, task.name, folder, { training, validation, steps: size.steps });
    const pairs = asPairs(training);
    if (!(await exists(join(folder, EMBEDDING_FILE)))) {
      await gatherStatistics({ model: job.model, tokenizer: job.tokenizer, expert: folder, examples: pairs.slice(0, size.numStatistics) });
    }
    const expert = await loadExpert(folder, job.model.base.modules);
    experts.push(expert);
    for (const [steps, found] of await gatesOf(job, expert, pairs, size)) gates.get(steps)?.push(found);
  }
  const multitask = join(job.out, "multitask");
  const union = STUDY_HELD_IN.flatMap((task) => studyExamples(task, size.numExamples, job.seed));
  await lora(job, "multitask", multitask, { training: union, steps: size.multitaskSteps });
  return { experts, gates, multitask };
}

/** The expert's gates after each number of steps; trains them if they are missing. */
async function gatesOf(job: LoraSetting, expert: Expert, pairs: readonly TrainingExample[], size: StudySize): Promise<Map<number, Gates>> {
  const { model, tokenizer, seed, signal, onPart } = job;
  const steps = Math.max(1, ...size.gateSteps);
  const schedule = { kind: "constant" as const, warmupRatio: (WARMUP + 0.5) / Math.max(steps, 100) };
  const options = { steps, schedule, batchSize: BATCH, microBatchSize: BATCH, seed: derivedSeed(seed, expert.name) };
  return gateSnapshots({
    model,
    tokenizer,
    expert,
    training: pairs,
    options,
    snapshots: size.gateSteps,
    folder: (steps) => join(job.out, "gates", expert.name, String(steps)),
    hooks: { onProgress: (progress) => onPart?.(`gates of ${expert.name}`, progress), ...(signal && { signal }) },
  });
}
