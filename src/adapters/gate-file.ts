/** @file The files of an expert's gates (PHATGOOSE, arXiv:2402.05859).
 *
 *    gate_config.json        { "gate_type": "PHATGOOSE", "base_fingerprint"?, "modules"?, ... }
 *    gate_model.safetensors  <module>.gate  float32 [in]
 *
 *  Only gate_type is required. A missing field causes a warning; it is never guessed. */

import * as z from "zod";
import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Gates } from "./expert.ts";
import { GATE_FILE } from "./file-names.ts";
import { baseName, type ModuleSizes, prefixChange } from "./modules.ts";
import { float32Of } from "./tensor-file.ts";

export const GATE_TYPE = "PHATGOOSE";

const gateConfig = z.looseObject({
  gate_type: z.string(),
  base_fingerprint: z.string().nullish(),
  modules: z.array(z.string()).nullish(),
});

export interface FoundGates {
  readonly gates: Gates;
  readonly baseFingerprint: string | undefined;
  readonly warnings: readonly string[];
}

export interface GateContents {
  /** The text of gate_config.json. */
  readonly config: string;
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** The folder of the two files, for messages. */
  readonly configFile: string;
  readonly file: string;
}

/** The gates in these files, checked against the modules that their adapter covers. */
export function parseGates(contents: GateContents, covered: ReadonlySet<string>, modules: ModuleSizes): FoundGates {
  const { configFile, file } = contents;
  const config = parsedGateConfig(contents.config, configFile);
  const gates = namedGates(contents.tensors, modules, file);
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

function namedGates(tensors: ReadonlyMap<string, HostTensor>, modules: ModuleSizes, file: string): Gates {
  const named = new Map<string, HostTensor<"float32">>();
  for (const [name, tensor] of tensors) {
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

/** Checks that every module of the adapter has a gate, no other module has one, and each gate is as long as its module's input. */
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

/** What is recorded beside gates. */
export interface GateRecord {
  readonly baseFingerprint?: string;
  /** How they were trained (steps, learning rate, data, ...), stored in gate_config.json under these names. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/** The contents of the gate files: the configuration's text and the tensors. */
export function gateFiles(
  gates: Gates,
  { baseFingerprint, training = {} }: GateRecord,
): { config: string; tensors: ReadonlyMap<string, HostTensor> } {
  const config = {
    ...training,
    gate_type: GATE_TYPE,
    ...(baseFingerprint && { base_fingerprint: baseFingerprint }),
    modules: [...gates.keys()],
  };
  return {
    config: `${JSON.stringify(config, null, 2)}\n`,
    tensors: new Map([...gates].map(([module, gate]) => [`${module}.gate`, gate])),
  };
}
