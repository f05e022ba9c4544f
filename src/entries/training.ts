/** @file `skein/training`: training data, statistics of experts, LoraHub, whole bases, and Mixture-of-LoRAs models in folders. */

export {
  type Examine,
  type ExampleFile,
  type FileProgress,
  type OpenOptions,
  openTrainingExamples,
  type PlacedExample,
} from "../data/example-file.ts";
export { type ReadOptions, readTrainingExamples, type TrainingExample } from "../data/training-data.ts";
export { addToMoaPool, createMoaPool, removeFromMoaPool } from "../inference/moa-pool.ts";
export type { Found, SearchOptions } from "../routing/lorahub.ts";
export type { MoaRouter, MoaRouters, Pooling } from "../routing/moa.ts";
export type { Moa, RouterStates } from "../routing/moa-file.ts";
export type { Encoded } from "../training/batches.ts";
export type { EncodeSetting } from "../training/encoded.ts";
export { type EncodedSet, type EncodeLimits, encodeExamples } from "../training/examples.ts";
export type { TrainingJob } from "../training/learn.ts";
export { type LorahubResult, lorahub } from "../training/lorahub.ts";
export type { ExpertOptions, FullOptions, GateOptions, MoaOptions } from "../training/recipe.ts";
export { expertSamples, type SampleJob, type SampleOptions } from "../training/samples.ts";
export { gatherStatistics, type Positions, type Statistics, type StatisticsJob } from "../training/statistics.ts";
export { type FullJob, trainFull } from "../training/train.ts";
export { type AddDomainJob, addDomain, type DomainData, type MoaModel } from "../training/train-moa.ts";
