/** @file `skein/peft`: reads, checks, merges and writes adapters and experts in PEFT's format. */

export type {
  Adapter,
  BottleneckActivation,
  BottleneckAdapter,
  BottleneckPlacement,
  BottleneckWeights,
  Ia3Adapter,
  Ia3Weights,
  LoraAdapter,
  LoraWeights,
  TurnEnds,
} from "../adapters/adapter.ts";
export type { ExampleEmbeddings, Expert, Gates } from "../adapters/expert.ts";
export type { GateRecord } from "../adapters/gate-file.ts";
export { MERGE_METHODS, type MergeMethod, mergeAdapters } from "../adapters/merge.ts";
export type { ModuleSize, ModuleSizes } from "../adapters/modules.ts";
export type { SaveOptions } from "../adapters/peft-save.ts";
export { type AdapterReport, checkAdapter } from "../storage/check.ts";
export { type LoadExpertOptions, loadExpert, saveGates } from "../storage/expert.ts";
export { type LoadAdapterOptions, loadAdapter } from "../storage/peft.ts";
export { saveAdapter } from "../storage/peft-save.ts";
