/** @file Describes a PEFT adapter folder that cannot be used, so that the report still shows what it is. Reads the configuration and the
 *  header of the tensor file, and trusts neither. */

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { CONFIG_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { UserError } from "../base/errors.ts";
import { elements } from "../base/tensor.ts";
import { openSafetensors, type TensorInfo } from "../checkpoint/safetensors.ts";

export interface Glimpse {
  readonly kind?: "lora" | "ia3";
  readonly baseName?: string;
  readonly modules: readonly string[];
  readonly ranks: readonly number[];
  readonly scalings: readonly number[];
  readonly dtypes: readonly string[];
  readonly parameters: number;
  readonly bytes: number;
}

const KINDS = { LORA: "lora", IA3: "ia3" } as const;
const configSchema = z.object({
  peft_type: z
    .string()
    .transform((type) => KINDS[type.toUpperCase() as keyof typeof KINDS])
    .optional()
    .catch(undefined),
  base_model_name_or_path: z.string().optional().catch(undefined),
  r: z.number().positive().optional().catch(undefined),
  lora_alpha: z.number().optional().catch(undefined),
  use_rslora: z.boolean().optional().catch(undefined),
});

/** What the folder appears to contain; unknown fields are absent or empty. */
export async function glimpsed(directory: string): Promise<Glimpse> {
  const config = configSchema.safeParse(await jsonIn(join(directory, CONFIG_FILE))).data ?? {};
  const { peft_type: kind, base_model_name_or_path: baseName, r, lora_alpha: alpha, use_rslora: rslora } = config;
  const file = join(directory, TENSOR_FILE);
  const tensors = await headerOf(file);
  const ranks = tensors.filter(({ name }) => name.includes(".lora_A")).map(({ shape }) => shape[0]!);
  const scaling = kind === "lora" && r !== undefined && alpha !== undefined ? [alpha / (rslora ? Math.sqrt(r) : r)] : [];
  return {
    ...(kind && { kind }),
    ...(baseName && { baseName }),
    modules: [...new Set(tensors.flatMap(({ name }) => moduleOf(name) ?? []))],
    ranks: ranks.length > 0 ? [...new Set(ranks)].sort((p, q) => p - q) : kind === "lora" && r !== undefined ? [r] : [],
    scalings: scaling,
    dtypes: [...new Set(tensors.map(({ dtype }) => dtype))],
    parameters: tensors.reduce((sum, { shape }) => sum + elements(shape), 0),
    bytes: await stat(file).then(
      ({ size }) => size,
      () => 0, // absent: opening the folder reports that
    ),
  };
}

/** The module that a tensor adapts; undefined for a tensor of the base. */
function moduleOf(name: string): string | undefined {
  return /^(?:base_model\.model\.)*(.+?)\.(?:lora_|ia3_l)/.exec(name.replaceAll("_orig_mod.", ""))?.[1];
}

async function jsonIn(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return {}; // absent or not JSON: opening the folder reports that
  }
}

async function headerOf(path: string): Promise<TensorInfo[]> {
  try {
    return [...(await openSafetensors(path)).tensors.values()];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return []; // opening the folder reports the problem
  }
}
