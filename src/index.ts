/** @file What `import { ... } from "skein"` gives: the verbs, the errors, and the types that the verbs speak of. The rest is in entries/,
 *  one file for each subpath ("skein/peft"). Nothing else is reachable from outside. */

export type { Adapter } from "./adapters/adapter.ts";
export type { Expert, Gates } from "./adapters/expert.ts";
export type { ModuleSizes } from "./adapters/modules.ts";
export type { PoolBase, PoolEntry, PoolFile } from "./adapters/pool-file.ts";
export type { ErrorCode, ErrorFields, ProblemKind } from "./base/error-codes.ts";
export {
  AdapterError,
  CheckpointError,
  DataError,
  EngineError,
  OptionError,
  PoolError,
  type Problem,
  ShapeError,
  StoppedError,
  TrainingError,
  UserError,
} from "./base/errors.ts";
export type { HostArrays, HostDType, HostTensor } from "./base/tensor.ts";
export type { Chat } from "./data/chat-data.ts";
export type { TrainingExample } from "./data/training-data.ts";
export {
  type Evaluation,
  type EvaluationJob,
  type EvaluationProgress,
  evaluate,
  type GroupMean,
  type MethodResult,
} from "./evaluation/comparison/evaluate.ts";
export type { EvaluationTask } from "./evaluation/comparison/evaluation-task.ts";
export type { Method, MethodKind } from "./evaluation/comparison/methods.ts";
export type { Likelihood, ScorerOptions } from "./evaluation/scoring/score-tokens.ts";
export type { TextPair } from "./evaluation/scoring/scorer.ts";
export type { ModuleTrace, Trace, TracedTokens } from "./evaluation/scoring/trace.ts";
export type { Conversation, ConversationOptions, Piece } from "./generation/conversation.ts";
export type { CompletionEvent, GenerateControl, Prompt, TokenEvent, Usage } from "./generation/generate.ts";
export type { GenerationOptions } from "./generation/options.ts";
export type { Routes } from "./generation/routes.ts";
export type { Alternative, Choice } from "./generation/sampler.ts";
export type { FinishReason } from "./generation/sequence.ts";
export type { Base, BaseOptions } from "./inference/base.ts";
export type { Batch } from "./inference/batch.ts";
export type { Model } from "./inference/model.ts";
export type { RowChoice } from "./inference/row-choices.ts";
export type { ForwardResult, HostRoute, Runner, RunnerOptions } from "./inference/runner.ts";
export type { Woven } from "./inference/woven.ts";
export { type LoadedModel, type LoadOptions, loadModel, type WithOptions } from "./library/model.ts";
export type { WovenOptions } from "./methods/open.ts";
export type { Precision } from "./quantization/scheme.ts";
export type { Device } from "./runtime/engine.ts";
export {
  type AddExpertOptions,
  addExpert,
  createPool,
  type HubResolver,
  listPool,
  type OpenPoolOptions,
  openPool,
  type Pool,
  removeExpert,
} from "./storage/pool.ts";
export type { Tokenizer } from "./text/tokenizer.ts";
export type { TrainingJob, TrainingSetting } from "./training/learn.ts";
export type { LoopHooks, Progress } from "./training/loop.ts";
export type { ExpertOptions, GateOptions, MoaOptions } from "./training/recipe.ts";
export { type ExpertJob, type GateJob, trainExpert, trainGate } from "./training/train.ts";
export { type DomainData, type MoaJob, type MoaModel, type TrainMoaJob, trainMoa } from "./training/train-moa.ts";
export {
  type ExpertPart,
  type ExpertsJob,
  type GatePart,
  type GatesJob,
  trainExperts,
  trainGates,
} from "./training/train-together.ts";
