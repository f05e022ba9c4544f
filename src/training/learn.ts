/** @file Trains a learner on a job's examples: encodes them, opens the run to resume, and calls the loop. */

import { createHash } from "node:crypto";
import { derivedSeed } from "../base/random.ts";
import type { ExampleFile } from "../data/example-file.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { hasOwnNumbers } from "../quantization/scheme.ts";
import { dateOf, type EncodeSetting, encoded, encodedSet, encodedStream, isList, rowsOf } from "./encoded.ts";
import type { EncodedSet } from "./examples.ts";
import type { Learner, Parameters } from "./learner.ts";
import { type LoopData, type LoopHooks, train } from "./loop.ts";
import { openPasses, type Passes, type PassOptions } from "./passes.ts";
import type { CommonRecipe } from "./recipe.ts";
import { Run } from "./run.ts";
import { Trainer } from "./trainer.ts";

/** The inputs of every kind of training, except the data. */
export interface TrainingSetting extends EncodeSetting {
  readonly hooks?: LoopHooks;
  /** Called with the encoded examples before the first step; for a large file, with its first rows. */
  readonly onEncoded?: (set: EncodedSet) => void;
}
/** The inputs of every kind of training. */
export interface TrainingJob extends TrainingSetting {
  /** Examples in memory, or a large file of them (`openTrainingExamples` of skein/training). */
  readonly training: readonly TrainingExample[] | ExampleFile;
  readonly validation?: readonly TrainingExample[];
}

interface LearnOptions {
  readonly passes?: Passes | undefined;
}
/** What was learned, and the tokens that ended the turns of its chats. */
export interface Learned {
  readonly parameters: Parameters;
  readonly turnEnds: readonly number[];
}

/** Encodes the job's examples and trains on them. */
export async function learn(job: TrainingJob, learner: Learner, recipe: CommonRecipe, { passes }: LearnOptions = {}): Promise<Learned> {
  const { training } = job;
  const { date, identity } = await dateOf(job, training);
  const dated = { ...job, date };
  const validation = encoded(dated, job.validation ?? [], recipe);
  if (!isList(training)) {
    const stream = await encodedStream(dated, training, recipe);
    const hash = hashOf({ training: training.hash, validation });
    const parameters = await learnFrom(job, learner, { training: stream, validation }, recipe, { identity, passes, hash });
    return { parameters, turnEnds: stream.turnEnds };
  }
  const set = encodedSet(dated, training, recipe);
  job.onEncoded?.(set);
  const parameters = await learnFrom(job, learner, { training: rowsOf(set, recipe), validation }, recipe, { identity, passes });
  return { parameters, turnEnds: set.turnEnds };
}

interface LearnFromOptions {
  /** Other values that must match to resume the run. */
  readonly identity?: Readonly<Record<string, unknown>>;
  /** Default: the learner's own. */
  readonly passes?: Passes | undefined;
  /** The hash of the data. Default: that of the encoded examples. */
  readonly hash?: string | undefined;
}

/** Trains on encoded examples, in a resumable run if the job names one. */
export async function learnFrom(
  job: TrainingSetting,
  learner: Learner,
  data: LoopData,
  recipe: CommonRecipe,
  { identity = {}, passes, hash = hashOf(data) }: LearnFromOptions = {},
): Promise<Parameters> {
  const { architecture, precision } = job.model.base;
  const bits = hasOwnNumbers(precision) ? {} : { precision };
  const config = { kind: learner.kind, ...recipe, base: await job.model.base.fingerprint(), ...bits, data: hash, ...identity };
  const run = job.run ? await Run.open(job.run, config) : undefined;
  const { clip, weightDecay, seed } = recipe;
  const own = passes ?? (await openPasses(architecture, learner, passOptions(recipe)));
  await using trainer = await Trainer.over(own, learner.initial, { clip, adamw: { weightDecay }, seed: derivedSeed(seed, "dropout") });
  return await train(trainer, architecture, data, recipe, run, job.hooks);
}

/** What a recipe says of its passes. */
export function passOptions({ dropout, packing }: Pick<CommonRecipe, "dropout" | "packing">): PassOptions {
  return { packed: packing, ...(dropout === undefined ? {} : { dropout }) };
}

/** A short hash of a JSON value. */
export function hashOf(data: unknown): string {
  return createHash("sha256").update(JSON.stringify(data)).digest("hex").slice(0, 16);
}
