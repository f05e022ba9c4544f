/** @file An expert on disk: a PEFT adapter folder with, beside it, the gates that PHATGOOSE trains (arXiv:2402.05859).
 *
 *    adapter_config.json, adapter_model.safetensors   PEFT's own; Python PEFT loads the folder and ignores the rest
 *    gate_config.json        { "gate_type": "PHATGOOSE", "base_fingerprint"?, "modules"?, ... }
 *    gate_model.safetensors  <module>.gate  float32 [in]
 *
 *    average_activation.safetensors, retrieval_embeddings.safetensors   what two other routers need (side-files.ts), when gathered
 *
 *  Only gate_type is required; what is absent is warned about, never guessed. */

import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import * as z from "zod";
import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import type { Adapter } from "./adapter.ts";
import { isBottleneckFolder } from "./bottleneck-file.ts";
import { checkFingerprint, exists, float32Of } from "./files.ts";
import { baseName, type ModuleSizes, prefixChange } from "./modules.ts";
import { loadAdapter, openAdapter } from "./peft.ts";
import { type ExampleEmbeddings, readSideFiles } from "./side-files.ts";

export const GATE_CONFIG_FILE = "gate_config.json";
export const GATE_FILE = "gate_model.safetensors";
export const GATE_TYPE = "PHATGOOSE";

/** One vector [in] per module. */
export type Gates = ReadonlyMap<string, HostTensor<"float32">>;

export interface Expert {
  readonly name: string;
  readonly adapter: Adapter;
  /** Absent for an adapter that has no gates yet; when present, one for every module of the adapter. */
  readonly gates?: Gates;
  /** The mean input of each module over the expert's examples; absent until gathered. */
  readonly activations?: Gates;
  /** Embeddings of the expert's examples; absent until gathered. */
  readonly embeddings?: ExampleEmbeddings;
  /** Fingerprint of the base model the gates were trained on. */
  readonly baseFingerprint?: string;
  readonly warnings: readonly string[];
}

export interface LoadExpertOptions {
  /** Default: the folder's name. */
  readonly name?: string;
  /** Fingerprint of the base model it is loaded for; an expert that records another one is refused. */
  readonly fingerprint?: string;
}

const gateConfig = z.looseObject({
  gate_type: z.string(),
  base_fingerprint: z.string().nullish(),
  modules: z.array(z.string()).nullish(),
});

/** Reads an adapter folder and the gates beside it, if there are any. */
export async function loadExpert(directory: string, modules: ModuleSizes, options: LoadExpertOptions = {}): Promise<Expert> {
  const folder = (await isBottleneckFolder(directory)) ? directory : (await openAdapter(directory)).directory;
  const adapter = await loadAdapter(folder, modules, options);
  const name = options.name ?? basename(resolve(directory));
  const found = await readGates(folder, new Set(adapter.modules.keys()), modules);
  const { warnings: notes, ...side } = await readSideFiles(folder, new Set(adapter.modules.keys()), modules);
  if (!found) return { name, adapter, ...side, warnings: [...adapter.warnings, ...notes] };
  const { gates, baseFingerprint, warnings } = found;
  checkFingerprint(`The gates of expert "${name}" were`, join(folder, GATE_CONFIG_FILE), baseFingerprint, options.fingerprint);
  return {
    name,
    adapter,
    gates,
    ...side,
    ...(baseFingerprint && { baseFingerprint }),
    warnings: [...adapter.warnings, ...warnings, ...notes],
  };
}

export interface FoundGates {
  readonly gates: Gates;
  readonly baseFingerprint: string | undefined;
  readonly warnings: readonly string[];
}

/** Reads the gates in a folder and checks them against the modules its adapter covers; undefined when there are none. */
export async function readGates(directory: string, covered: ReadonlySet<string>, modules: ModuleSizes): Promise<FoundGates | undefined> {
  const [configFile, file] = [join(directory, GATE_CONFIG_FILE), join(directory, GATE_FILE)];
  const [hasConfig, hasTensors] = [await exists(configFile), await exists(file)];
  if (!hasConfig && !hasTensors) return undefined;
  if (!hasConfig || !hasTensors) {
    const missing = hasConfig ? GATE_FILE : GATE_CONFIG_FILE;
    throw new AdapterError({
      code: "gates-incomplete",
      what: `Half of the gates is there: ${missing} is missing.`,
      where: directory,
      fix: "Copy both gate files, or remove both.",
    });
  }
  const config = parsedGateConfig(await readFile(configFile, "utf8"), configFile);
  const gates = await namedGates(file, modules);
  checkGates(gates, covered, modules, file);
  const warnings = config.base_fingerprint
    ? []
    : [`${configFile} records no base_fingerprint: that the gates fit this base model cannot be checked.`];
  const listed = config.modules;
  if (listed && (listed.length !== gates.size || listed.some((module) => !gates.has(module)))) {
    warnings.push(`${configFile} lists other modules than ${GATE_FILE} holds: the file's own are used.`);
  }
  return { gates, baseFingerprint: config.base_fingerprint ?? undefined, warnings };
}

function parsedGateConfig(text: string, where: string): z.output<typeof gateConfig> {
  const fix = `Expected at least { "gate_type": "${GATE_TYPE}" }: train the gates again, or mend the file.`;
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new AdapterError({ code: "gates-bad-file", what: "gate_config.json is not JSON.", where, fix, cause });
  }
  const result = gateConfig.safeParse(raw);
  if (!result.success) throw new AdapterError({ code: "gates-bad-file", what: z.prettifyError(result.error), where, fix });
  if (result.data.gate_type !== GATE_TYPE) {
    throw new AdapterError({
      code: "gates-bad-file",
      what: `gate_type is "${result.data.gate_type}"; expected "${GATE_TYPE}".`,
      where,
      fix,
    });
  }
  return result.data;
}

async function namedGates(file: string, modules: ModuleSizes): Promise<Gates> {
  const named = new Map<string, HostTensor<"float32">>();
  for (const [name, tensor] of await readSafetensors(file)) {
    if (!name.endsWith(".gate")) {
      throw new AdapterError({
        code: "gates-bad-file",
        what: `Tensor "${name}" is no gate: expected names "<module>.gate".`,
        where: file,
        fix: "Save the gates with Skein.",
      });
    }
    named.set(name.slice(0, -".gate".length), float32Of(name, tensor, file));
  }
  const change = prefixChange(named.keys(), modules, file);
  return new Map([...named].map(([name, gate]) => [baseName(name, change, modules), gate]));
}

/** Every module of the adapter has its gate, no other has one, and each is as long as its module's input. */
function checkGates(gates: Gates, covered: ReadonlySet<string>, modules: ModuleSizes, where: string): void {
  const fix = "Train the gates for this adapter (trainGate), or copy those that belong to it.";
  const without = [...covered].filter((module) => !gates.has(module));
  if (without.length > 0)
    throw new AdapterError({
      code: "gates-mismatch",
      data: { module: without[0]! },
      what: `No gate for ${without.slice(0, 3).join(", ")}${andMore(without)}.`,
      where,
      fix,
    });
  for (const [module, { shape }] of gates) {
    if (!covered.has(module))
      throw new AdapterError({
        code: "gates-mismatch",
        data: { module },
        what: `There is a gate for ${module}, which the adapter does not cover.`,
        where,
        fix,
      });
    const width = modules.get(module)?.in;
    if (shape.length !== 1 || shape[0] !== width) {
      throw new AdapterError({
        code: "gates-mismatch",
        data: { module },
        what: `The gate of ${module} has shape [${shape.join(", ")}]; expected [${width}], the module's input.`,
        where,
        fix,
      });
    }
  }
}

function andMore(names: readonly string[]): string {
  return names.length > 3 ? ` and ${names.length - 3} more` : "";
}

export interface GateRecord {
  readonly baseFingerprint?: string;
  /** How they were trained: steps, learning rate, data... kept in gate_config.json under these names. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/** Writes gates (one [in] vector per module) beside the adapter in `directory`, each file whole or not at all. */
export async function saveGates(directory: string, gates: Gates, { baseFingerprint, training = {} }: GateRecord = {}): Promise<void> {
  const config = {
    ...training,
    gate_type: GATE_TYPE,
    ...(baseFingerprint && { base_fingerprint: baseFingerprint }),
    modules: [...gates.keys()],
  };
  const tensors = new Map([...gates].map(([module, gate]) => [`${module}.gate`, gate]));
  await writeSafetensors(join(directory, GATE_FILE), tensors);
  await writeFileAtomically(join(directory, GATE_CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
}
