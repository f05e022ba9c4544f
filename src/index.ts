/** @file Skein's public surface: what `import { ... } from "skein"` gives. Everything else is internal. */

export type { Adapter, BottleneckAdapter, Ia3Adapter, LoraAdapter } from "./adapters/adapter.ts";
export type { Expert } from "./adapters/expert.ts";
export { type MergeMethod, mergeAdapters } from "./adapters/merge.ts";
export type { SaveOptions } from "./adapters/peft-save.ts";
export {
  AdapterError,
  CheckpointError,
  DataError,
  OptionError,
  PoolError,
  ShapeError,
  StoppedError,
  TrainingError,
  UserError,
} from "./base/errors.ts";
export type { HostTensor } from "./base/tensor.ts";
export { fingerprint } from "./checkpoint/fingerprint.ts";
export { readTrainingExamples, type TrainingExample } from "./data/training-data.ts";
export { type Evaluation, type EvaluationJob, evaluate } from "./evaluation/comparison/evaluate.ts";
export { markdownTables } from "./evaluation/comparison/tables.ts";
export type { Conversation, ConversationOptions } from "./generation/conversation.ts";
export { type CompletionEvent, generate, type TokenEvent } from "./generation/generate.ts";
export type { GenerationOptions } from "./generation/options.ts";
export { type Base, openBase } from "./inference/base.ts";
export type { Batch } from "./inference/batch.ts";
export { baseEmbedder, type Embedder, textEmbedder } from "./inference/embedder.ts";
export type { Model } from "./inference/model.ts";
export { RoutedPool } from "./inference/routed-pool.ts";
export { baseRows, eachRow, namedExperts, openRows, ownRows, type RowChoice } from "./inference/row-choices.ts";
export { type ForwardResult, type HostRoute, Runner, type RunnerOptions } from "./inference/runner.ts";
export { plain, singleAdapter, type Woven } from "./inference/woven.ts";
export { LoadedModel, type LoadOptions, loadModel, route, type WithOptions } from "./library/model.ts";
export type { MethodSetting, PoolParts, RoutingMethod } from "./methods/method.ts";
export type { WovenOptions } from "./methods/open.ts";
export { defaultMethod, METHODS, type MethodChoice, openMethod, parsedMethod, routerNamed } from "./methods/registry.ts";
export { retrievalRows } from "./methods/retrieval.ts";
export type { Route, Router } from "./routing/router.ts";
export { type AdapterReport, checkAdapter } from "./storage/check.ts";
export { loadExpert } from "./storage/expert.ts";
export { loadAdapter } from "./storage/peft.ts";
export { saveAdapter } from "./storage/peft-save.ts";
export { addExpert, createPool, listPool, openPool, type Pool, removeExpert } from "./storage/pool.ts";
export { loadTokenizer } from "./text/load-tokenizer.ts";
export type { Tokenizer } from "./text/tokenizer.ts";
export { type LorahubResult, lorahub } from "./training/lorahub.ts";
export { gatherStatistics, type Statistics, type StatisticsJob } from "./training/statistics.ts";
export { type TrainingJob, trainExpert, trainFull, trainGate } from "./training/train.ts";
export { type MoaModel, type TrainMoaJob, trainMoa } from "./training/train-moa.ts";
