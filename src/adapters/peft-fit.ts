/** @file Matches an opened PEFT adapter to a base model: every tensor belongs to a module, every module that the configuration covers
 *  has its tensors, and all shapes agree. It reads only headers, and whole embeddings if the file holds them. */

import { AdapterError } from "../base/errors.ts";
import type { TensorInfo } from "../checkpoint/safetensors-header.ts";
import { baseName, type ModuleSize, type ModuleSizes, NO_CHANGE, type PrefixChange, prefixChange, renamedBack } from "./modules.ts";
import { checkFrozen, checkWhole } from "./peft-base-weights.ts";
import type { Ia3Config, PeftConfig } from "./peft-config.ts";
import { idleTargets, isAllLinear, loraScales, namesTest, targetTest } from "./peft-targets.ts";
import { isEmbeddingTensor, type ModuleTensors, type SortedTensors } from "./peft-tensors.ts";
import type { ReadTensor } from "./tensor-file.ts";

/** An adapter folder whose configuration and tensor names are known, but no numbers read. */
export interface OpenedAdapter extends SortedTensors {
  /** The folder with the files: the given one, or its only subfolder with an adapter. */
  readonly directory: string;
  readonly config: PeftConfig;
  /** Fingerprint of the base model it was trained on, if recorded. */
  readonly baseFingerprint?: string;
  readonly warnings: readonly string[];
}

/** A module of the base with the checked tensors of its adapter. `path` is the adapter's own name for it. */
export type Fitted = { readonly module: string; readonly path: string } & (
  | {
      readonly kind: "lora";
      readonly rank: number;
      readonly scaling: number;
      readonly a: TensorInfo;
      readonly b: TensorInfo;
      readonly bias?: TensorInfo;
      readonly embedding?: true;
    }
  | { readonly kind: "ia3"; readonly scale: TensorInfo; readonly feedforward: boolean }
);

/** Finds the base's module of every tensor and checks that the configuration covers exactly these modules. */
export async function fittedModules(
  opened: OpenedAdapter,
  modules: ModuleSizes,
  readTensor: ReadTensor,
): Promise<{ fitted: Fitted[]; warnings: string[]; change: PrefixChange }> {
  const { config, directory } = opened;
  const change = prefixChange(opened.modules.keys(), modules, directory);
  const fitOne = fitting(config, modules, directory);
  const fitted = [...opened.modules].map(([path, tensors]) => fitOne(baseName(path, change, modules), path, tensors));
  const own = new Map(fitted.map(({ module, path }) => [module, path]));
  const coverable = [...modules].flatMap(([module, { embedding }]) => (embedding && isAllLinear(config.targetModules) ? [] : [module]));
  const basePaths = coverable.map((module) => own.get(module) ?? renamedBack(module, change)).filter((path) => path !== undefined);
  checkCoverage(config, new Set(opened.modules.keys()), basePaths, directory);
  checkFrozen(opened, modules, change);
  await checkWhole(opened, { modules, change, readTensor });
  refuseTied(config, fitted, modules, directory);
  const warnings = [...opened.warnings];
  for (const { name } of opened.whole.values()) warnings.push(`"${name}" equals the base model's own tensor: ignored.`);
  for (const { module } of fitted)
    if (modules.get(module)?.idle)
      warnings.push(`The model never calls ${module}, whose weights other modules read: the adapter on it has no effect, as in PEFT.`);
  if (change !== NO_CHANGE) warnings.push(`Module names: "${change.strip}" in the adapter is "${change.add}" in the base model.`);
  const idle = idleTargets(config, basePaths);
  if (idle.length > 0) warnings.push(`target_modules also names what is no module here: ${idle.join(", ")}.`);
  return { fitted, warnings, change };
}

function checkCoverage(config: PeftConfig, held: ReadonlySet<string>, basePaths: readonly string[], where: string): void {
  if (config.targetModules === undefined) return;
  // PEFT's versions differ in which number of a path is the layer's; the tensors show which version saved this adapter.
  const covered = (["first", "last"] as const).map((rule) => new Set(basePaths.filter(targetTest(config, rule, where))));
  if (covered.some((set) => set.size === held.size && [...held].every((path) => set.has(path)))) return;
  const set = covered[0] ?? new Set();
  const missing = [...set].filter((path) => !held.has(path));
  const unused = [...held].filter((path) => !set.has(path));
  const [some, verb] =
    missing.length > 0
      ? [missing, "covers modules that have no tensors in the file"]
      : [unused, "does not cover modules that have tensors in the file"];
  throw new AdapterError({
    code: "adapter-targets",
    what: `The adapter's target_modules ${verb}: ${some.slice(0, 3).join(", ")}${some.length > 3 ? ` and ${some.length - 3} more` : ""}.`,
    where,
    fix:
      missing.length > 0
        ? "The file is incomplete or the base model another one: save or download the adapter again."
        : "Mend target_modules in adapter_config.json; PEFT would leave those tensors unused.",
  });
}

/** Checks the tensors of one module against its sizes and the configuration. */
function fitting(
  config: PeftConfig,
  modules: ModuleSizes,
  where: string,
): (module: string, path: string, tensors: ModuleTensors) => Fitted {
  if (config.kind === "ia3")
    return (module, path, tensors) => fittedIa3(tensors, config, { module, path, size: sizeOf(module, modules), where });
  const scales = loraScales(config, where);
  return (module, path, tensors) => fittedLora(tensors, scales(path), { module, path, size: sizeOf(module, modules), where });
}

interface Place {
  readonly module: string;
  readonly path: string;
  readonly size: ModuleSize;
  readonly where: string;
}

function fittedLora({ a, b, bias }: ModuleTensors, { rank, scaling }: { rank: number; scaling: number }, place: Place): Fitted {
  const { module, path, size, where } = place;
  if (!a || !b) throw halfPair(path, where);
  for (const info of bias ? [a, b, bias] : [a, b]) checkForm(info, place);
  if (a.shape[0] !== rank) {
    const what = `${module}: the configuration says rank ${rank}, but lora_A is [${a.shape.join(", ")}].`;
    throw new AdapterError({
      code: "adapter-rank",
      data: { module, expected: rank, got: a.shape[0]! },
      what,
      where,
      fix: "Set r or rank_pattern in adapter_config.json to what the adapter was trained with.",
    });
  }
  checkShape(a, [rank, size.in], place);
  checkShape(b, [size.out, rank], place);
  if (bias) checkShape(bias, [size.out], place);
  return { kind: "lora", module, path, rank, scaling, a, b, ...(bias && { bias }), ...(size.embedding && { embedding: true }) };
}

function fittedIa3({ scale }: ModuleTensors, config: Ia3Config, place: Place): Fitted {
  const { module, path, size, where } = place;
  if (size.embedding)
    throw new AdapterError({
      code: "adapter-unsupported",
      what: `${path}: (IA)3 on embeddings is not supported.`,
      where,
      fix: "Train a LoRA there.",
    });
  if (!scale)
    throw new AdapterError({
      code: "adapter-incomplete",
      what: `${path} has LoRA tensors in an (IA)3 adapter.`,
      where,
      fix: "Save the adapter again.",
    });
  const feedforward = isFeedforward(config, path, where);
  checkShape(scale, feedforward ? [1, size.in] : [size.out, 1], place);
  return { kind: "ia3", module, path, scale, feedforward };
}

/** PEFT's rule for feedforward_modules: a pattern for the whole path, or a list of endings (without a dot before them). */
function isFeedforward(config: Ia3Config, path: string, where: string): boolean {
  const { feedforwardModules } = config;
  if (typeof feedforwardModules === "string") return namesTest(feedforwardModules, where)(path);
  return feedforwardModules.some((ending) => path.endsWith(ending));
}

function sizeOf(module: string, modules: ModuleSizes): ModuleSize {
  return modules.get(module) ?? { in: 0, out: 0 };
}

/** Checks the tensor's form: PEFT uses different tensor names for tables of embeddings and for projections. */
function checkForm(info: TensorInfo, { module, size, where }: Place): void {
  if (isEmbeddingTensor(info) === (size.embedding ?? false)) return;
  const kinds = ["a projection", "a table of embeddings"];
  const [is, adapts] = size.embedding ? [kinds[1], kinds[0]] : kinds;
  const what = `${module} is ${is} in this base model, but "${info.name}" adapts ${adapts}.`;
  throw new AdapterError({ code: "adapter-shape", data: { module }, what, where, fix: "Use the base model this adapter was trained on." });
}

/** Refuses ensure_weight_tying, with which PEFT uses one adapter for embeddings and head. */
function refuseTied(config: PeftConfig, fitted: readonly Fitted[], modules: ModuleSizes, where: string): void {
  if (config.kind !== "lora" || !config.tiesAdapters) return;
  const users = (weight: TensorInfo | undefined) => [...modules.values()].filter((size) => size.weight?.name === weight?.name);
  const tied = fitted.find(({ module }) => modules.get(module)?.weight && users(modules.get(module)?.weight).length > 1);
  if (!tied) return;
  throw new AdapterError({
    code: "adapter-unsupported",
    what: `ensure_weight_tying is true and the adapter covers ${tied.module}, whose weight other modules share: tied adapters are not supported.`,
    where,
    fix: "Train again without ensure_weight_tying, or merge the adapter with PEFT and use the result as a base.",
  });
}

function checkShape(info: TensorInfo, expected: readonly number[], { module, where }: Place): void {
  if (info.shape.length === expected.length && expected.every((size, axis) => size === info.shape[axis])) return;
  throw new AdapterError({
    code: "adapter-shape",
    data: { module, expected: expected.join(), got: info.shape.join() },
    what: `${module}: expected shape [${expected.join(", ")}] for this base model, got [${info.shape.join(", ")}] in "${info.name}".`,
    where,
    fix: "Use the base model this adapter was trained on.",
  });
}

/** The error for a module with only half of its LoRA. */
export function halfPair(path: string, where: string): AdapterError {
  return new AdapterError({
    code: "adapter-incomplete",
    what: `${path} has only one of lora_A and lora_B.`,
    where,
    fix: "The file is incomplete: save or download the adapter again.",
  });
}
