/** @file Checks an adapter folder and reports its contents. Reads headers and gates, not the adapter's weights. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { BOTTLENECK_FILE, GATE_CONFIG_FILE, GATE_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { ownSizes } from "../adapters/parse-adapter.ts";
import { type Fitted, fittedModules, type OpenedAdapter } from "../adapters/peft-fit.ts";
import { checkFingerprint } from "../adapters/tensor-file.ts";
import { type Problem, UserError } from "../base/errors.ts";
import { elements } from "../base/tensor.ts";
import { openSafetensors, readTensor, type TensorInfo } from "../checkpoint/safetensors.ts";
import { modelTypesWith } from "../models/module-names.ts";
import { MODEL_TYPES } from "../models/registry.ts";
import { bottleneckSizes, isBottleneckFolder, loadBottleneck } from "./bottleneck.ts";
import { readGates } from "./expert.ts";
import { exists } from "./files.ts";
import { glimpsed } from "./glimpse.ts";
import { type LoadAdapterOptions, openAdapter } from "./peft.ts";

/** What an adapter folder holds, and why it is refused if it is. Bytes are of the tensor file. */
export interface AdapterReport {
  /** True when the adapter can be used. */
  readonly usable: boolean;
  readonly directory: string;
  readonly kind?: Adapter["kind"];
  /** The base model that the adapter names, if any. */
  readonly baseName?: string;
  /** Whether it was checked against a base model's modules, or only against its own configuration. */
  readonly against: "base" | "itself";
  /** Without a base: the supported model types with modules of these names, independent of their number and sizes. */
  readonly modelTypes?: readonly string[];
  /** Module paths covered, in the base's names. */
  readonly modules: readonly string[];
  /** The tables of embeddings among them. */
  readonly embeddings: readonly string[];
  /** Each rank in use, in ascending order. */
  readonly ranks: readonly number[];
  /** Each scaling in use, in ascending order. */
  readonly scalings: readonly number[];
  /** Dtypes on disk. */
  readonly dtypes: readonly string[];
  readonly parameters: number;
  /** Bytes of the tensor file. */
  readonly bytes: number;
  readonly gates: boolean;
  readonly fanInFanOut: boolean;
  /** Warnings: settings without effect, and other remarks. */
  readonly warnings: readonly string[];
  /** The problems that make the adapter unusable, with their remedies. */
  readonly problems: readonly Problem[];
}

/** Checks an adapter or expert folder, against a base's modules if they are given. The report of an unusable folder lists what it
 *  appears to contain.
 *  @throws Errors of the disk alone: what is wrong with the adapter is in the report.
 *  @example
 *  import { checkAdapter } from "skein/peft";
 *
 *  const { usable, ranks, gates, problems } = await checkAdapter("experts/opposites");
 *  console.log(usable, ranks, gates, problems); // true [ 16 ] true [] */
export async function checkAdapter(
  directory: string,
  modules?: ModuleSizes,
  { fingerprint }: LoadAdapterOptions = {},
): Promise<AdapterReport> {
  const against = modules ? "base" : "itself";
  const nothing = { embeddings: [], gates: false, fanInFanOut: false, warnings: [] };
  let report: AdapterReport = { ...nothing, ...(await glimpsed(directory)), usable: false, directory, against, problems: [] };
  try {
    if (await isBottleneckFolder(directory)) {
      return byNames({ ...report, ...(await describedBottleneck(directory, modules, fingerprint)), usable: true });
    }
    const opened = await openAdapter(directory);
    report = { ...report, ...(await described(opened)) };
    checkFingerprint("The adapter was", opened.directory, opened.baseFingerprint, fingerprint);
    const { fitted, warnings } = await fittedModules(opened, modules ?? ownSizes(opened), readTensor);
    report = { ...report, ...fits(fitted), warnings };
    const gates = await readGates(opened.directory, new Set(report.modules), modules ?? ownSizes(opened));
    checkFingerprint("The gates were", opened.directory, gates?.baseFingerprint, fingerprint);
    return byNames({ ...report, usable: true, warnings: [...warnings, ...(gates?.warnings ?? [])] });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...report, problems: [problemOf(error)] };
  }
}

/** Finds the architectures whose modules match an adapter, for a check without its base. */
function byNames(report: AdapterReport): AdapterReport {
  const { against, modules, baseName, directory } = report;
  if (against === "base") return report;
  const modelTypes = modelTypesWith(modules);
  if (modelTypes.length > 0) return { ...report, modelTypes };
  const odd = modules.find((module) => modelTypesWith([module]).length === 0);
  const problem = {
    code: "adapter-no-architecture" as const,
    data: { known: MODEL_TYPES },
    what: `No supported architecture has ${odd === undefined ? "all these modules together" : `a module named "${odd}"`}${baseName === undefined ? "" : `; the adapter names ${baseName} as its base`}.`,
    where: directory,
    fix: `Supported model types: ${MODEL_TYPES.join(", ")}. If its base is one of them, check it against that base.`,
  };
  return { ...report, usable: false, modelTypes, problems: [problem] };
}

/** The report of a bottleneck adapter. It has no rank, and its file contains everything to check. */
async function describedBottleneck(directory: string, modules?: ModuleSizes, fingerprint?: string): Promise<Partial<AdapterReport>> {
  const file = join(directory, BOTTLENECK_FILE);
  const { tensors } = await openSafetensors(file);
  const adapter = await loadBottleneck(directory, modules ?? (await bottleneckSizes(directory)), { fingerprint });
  const gates = await readGates(directory, new Set(adapter.modules.keys()), modules ?? (await bottleneckSizes(directory)));
  return {
    kind: "bottleneck",
    ...(adapter.baseName && { baseName: adapter.baseName }),
    modules: [...adapter.modules.keys()],
    dtypes: [...new Set([...tensors.values()].map(({ dtype }) => dtype))],
    parameters: [...tensors.values()].reduce((sum, { shape }) => sum + elements(shape), 0),
    bytes: (await stat(file)).size,
    gates: gates !== undefined,
    warnings: gates?.warnings ?? [],
  };
}

async function described(opened: OpenedAdapter): Promise<Partial<AdapterReport>> {
  const { config, directory, warnings } = opened;
  const file = join(directory, TENSOR_FILE);
  const used = [...opened.modules.values()].flatMap((tensors) => Object.values(tensors));
  const { tensors } = await openSafetensors(file);
  const dtypes = new Set([...tensors.values()].map(({ dtype }: TensorInfo) => dtype));
  return {
    directory,
    kind: config.kind,
    ...(config.baseName && { baseName: config.baseName }),
    modules: [...opened.modules.keys()],
    dtypes: [...dtypes],
    parameters: used.reduce((sum, { shape }) => sum + elements(shape), 0),
    bytes: (await stat(file)).size,
    gates: (await exists(join(directory, GATE_FILE))) || (await exists(join(directory, GATE_CONFIG_FILE))),
    fanInFanOut: config.fanInFanOut,
    warnings,
  };
}

function fits(fitted: readonly Fitted[]): Pick<AdapterReport, "modules" | "embeddings" | "ranks" | "scalings"> {
  const lora = fitted.filter((fit) => fit.kind === "lora");
  const rising = (values: readonly number[]) => [...new Set(values)].sort((p, q) => p - q);
  return {
    modules: fitted.map(({ module }) => module),
    embeddings: lora.flatMap(({ module, embedding }) => (embedding ? [module] : [])),
    ranks: rising(lora.map(({ rank }) => rank)),
    scalings: rising(lora.map(({ scaling }) => scaling)),
  };
}

function problemOf(error: UserError): Problem {
  const { code, what, where, fix, data } = error;
  return { code, what, fix, data, ...(where && { where }) };
}
