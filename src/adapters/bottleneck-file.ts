/** @file The files of a bottleneck adapter, in Skein's own format, since PEFT has none.
 *
 *    skein_adapter_config.json         { "adapter_type": "BOTTLENECK", "version": 1, "activation", "placement",
 *                                        "target_modules": [module paths], "base_model_name_or_path"? }
 *    skein_adapter_model.safetensors   <module>.down.weight [size, width]   <module>.down.bias [size]
 *                                      <module>.up.weight   [out, size]     <module>.up.bias   [out]
 *
 *  width is the module's input for placement "parallel", its output for "output" (bottleneck.ts has the equations). */

import * as z from "zod";
import { AdapterError } from "../base/errors.ts";
import { fileIn } from "../base/paths.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Header } from "../checkpoint/safetensors-header.ts";
import { BOTTLENECK_ACTIVATIONS, BOTTLENECK_PLACEMENTS, type BottleneckAdapter, type BottleneckWeights } from "./adapter.ts";
import { bottleneckForm } from "./bottleneck-form.ts";
import { BOTTLENECK_CONFIG_FILE, BOTTLENECK_FILE } from "./file-names.ts";
import { closestNames, type ModuleSizes } from "./modules.ts";
import { BASE_FINGERPRINT, checkFingerprint, float32Of, type ReadTensor } from "./tensor-file.ts";

const configSchema = z.strictObject({
  adapter_type: z.literal("BOTTLENECK"),
  version: z.literal(1),
  activation: z.enum(BOTTLENECK_ACTIVATIONS),
  placement: z.enum(BOTTLENECK_PLACEMENTS),
  target_modules: z.array(z.string()).min(1),
  base_model_name_or_path: z.string().nullish(),
});
type Config = z.output<typeof configSchema>;

/** Module sizes from the adapter's own tensors, for a check without a base. An adapter on a module's output does not give the size of
 *  the input, which then counts as equal. */
export function ownBottleneckSizes({ tensors }: Pick<Header, "tensors">): ModuleSizes {
  const sizes = new Map<string, { in: number; out: number }>();
  for (const [name, { shape }] of tensors) {
    if (!name.endsWith(".down.weight")) continue;
    const module = name.slice(0, -".down.weight".length);
    sizes.set(module, { in: shape[1] ?? 0, out: tensors.get(`${module}.up.weight`)?.shape[0] ?? 0 });
  }
  return sizes;
}

/** The contents of a bottleneck adapter's folder. */
export interface BottleneckContents {
  /** Where it lies, for messages. */
  readonly directory: string;
  /** The text of skein_adapter_config.json. */
  readonly config: string;
  /** The header of skein_adapter_model.safetensors. */
  readonly header: Header;
  readonly read: ReadTensor;
}

/** The bottleneck adapter in these files, for a base model of these modules. */
export async function parseBottleneck(
  { directory, config: text, header, read }: BottleneckContents,
  modules: ModuleSizes,
  fingerprint?: string,
): Promise<BottleneckAdapter> {
  const config = parsedConfig(text, directory);
  const file = fileIn(directory, BOTTLENECK_FILE);
  checkFingerprint("The adapter was", directory, header.metadata[BASE_FINGERPRINT], fingerprint);
  const tensors = new Map<string, HostTensor>();
  for (const [name, info] of header.tensors) tensors.set(name, await read(info));
  const loaded = config.target_modules.map((module): [string, BottleneckWeights] => {
    const size = modules.get(module);
    if (!size) throw unknownModule(module, modules, directory);
    return [module, weightsOf(module, config, size, tensors, file)];
  });
  const unused = [...tensors.keys()].find((name) => !config.target_modules.some((module) => name.startsWith(`${module}.`)));
  if (unused !== undefined) throw broken(`Tensor "${unused}" belongs to no module of target_modules.`, file);
  const baseName = config.base_model_name_or_path ?? undefined;
  return { kind: "bottleneck", modules: new Map(loaded), warnings: [], ...(baseName !== undefined && { baseName }) };
}

function parsedConfig(text: string, directory: string): Config {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw broken(`${BOTTLENECK_CONFIG_FILE} is not JSON: ${String(cause)}.`, directory, "adapter-bad-config");
  }
  const result = configSchema.safeParse(raw);
  if (!result.success) throw broken(z.prettifyError(result.error), fileIn(directory, BOTTLENECK_CONFIG_FILE), "adapter-bad-config");
  return result.data;
}

function weightsOf(
  module: string,
  { activation, placement }: Config,
  { in: inputs, out }: { in: number; out: number },
  tensors: ReadonlyMap<string, HostTensor>,
  file: string,
): BottleneckWeights {
  const read = (name: string, shape: readonly (number | undefined)[]) => {
    const full = `${module}.${name}`;
    const found = tensors.get(full);
    if (!found) throw broken(`There is no tensor "${full}".`, file);
    const tensor = float32Of(full, found, file);
    if (tensor.shape.length !== shape.length || shape.some((size, axis) => size !== undefined && size !== tensor.shape[axis])) {
      const expected = shape.map((size) => size ?? "any").join(", ");
      const what = `${full}: expected shape [${expected}] for this base model, got [${tensor.shape.join(", ")}].`;
      throw new AdapterError({ code: "adapter-shape", data: { module }, what, where: file, fix: REMEDY });
    }
    return tensor;
  };
  const down = read("down.weight", [undefined, placement === "parallel" ? inputs : out]);
  const size = down.shape[0];
  return {
    activation,
    placement,
    down,
    downBias: read("down.bias", [size]),
    up: read("up.weight", [out, size]),
    upBias: read("up.bias", [out]),
  };
}

const REMEDY = "Use the base model it was trained on, or save the adapter again with Skein.";

function unknownModule(module: string, modules: ModuleSizes, where: string): AdapterError {
  const known = closestNames(module, modules.keys());
  const fix = `Use the base model this adapter was trained on. Closest names in this one: ${known.join(", ") || "none"}.`;
  return new AdapterError({
    code: "adapter-unknown-module",
    data: { module, known },
    what: `The base model has no module "${module}".`,
    where,
    fix,
  });
}

function broken(what: string, where: string, code: "adapter-incomplete" | "adapter-bad-config" = "adapter-incomplete"): AdapterError {
  return new AdapterError({ code, what, where, fix: REMEDY });
}

/** The contents of a bottleneck adapter's files: the configuration's text, and the tensors with their metadata. `directory`: for messages. */
export function bottleneckFiles(
  adapter: BottleneckAdapter,
  { directory, baseName, baseFingerprint }: { directory: string; baseName?: string | undefined; baseFingerprint?: string | undefined },
): { config: string; tensors: Map<string, HostTensor>; metadata: Record<string, string> } {
  const [first] = adapter.modules.values();
  const forms = new Set([...adapter.modules.values()].map(bottleneckForm));
  if (!first || forms.size !== 1) {
    throw new AdapterError({
      code: adapter.modules.size === 0 ? "adapter-empty" : "adapter-forms-differ",
      what: `A bottleneck adapter needs modules of one form; this one has ${[...forms].join(", ") || "none"}.`,
      where: directory,
      fix: "Train it over at least one module, with one activation and placement.",
    });
  }
  const config: Config = {
    adapter_type: "BOTTLENECK",
    version: 1,
    activation: first.activation,
    placement: first.placement,
    target_modules: [...adapter.modules.keys()],
    base_model_name_or_path: baseName ?? adapter.baseName ?? null,
  };
  const tensors = new Map<string, HostTensor>();
  for (const [module, { down, downBias, up, upBias }] of adapter.modules) {
    tensors.set(`${module}.down.weight`, down).set(`${module}.down.bias`, downBias);
    tensors.set(`${module}.up.weight`, up).set(`${module}.up.bias`, upBias);
  }
  const metadata = { format: "pt", ...(baseFingerprint && { [BASE_FINGERPRINT]: baseFingerprint }) };
  return { config: `${JSON.stringify(config, null, 2)}\n`, tensors, metadata };
}
