/** @file Four-bit weights as other tools store them, GPTQ (AutoGPTQ, GPTQModel) and AWQ (AutoAWQ, GEMM). Both are affine in groups of inputs:
 *
 *      W[o, i] = scales[g, o] (q[i, o] - zero[g, o]),   g = floor(i / group)
 *
 *      GPTQ   qweight int32 [in / 8, out], eight inputs in each number; qzeros int32 [groups, out / 8], which hold zero - 1
 *             (checkpoint_format "gptq_v2": zero); g_idx int32 [in], the group of each input
 *      AWQ    qweight int32 [in, out / 8] and qzeros int32 [groups, out / 8]; the outputs in a number are in the order 0 2 4 6 1 3 5 7
 *      both   scales float16 [groups, out]
 *
 *  The other numbers are in the order of their bits, the lowest first. GPTQ with act-order (desc_act) may give neighbors to different
 *  groups; blocks along the input cannot hold that. */

import type { TensorInfo } from "./safetensors-header.ts";

/** One weight [out, in] in four bits. */
export interface PackedWeight {
  readonly layout: "gptq" | "gptq_v2" | "awq";
  readonly in: number;
  readonly out: number;
  /** Inputs that share a scale and a zero. */
  readonly group: number;
  readonly qweight: TensorInfo;
  readonly qzeros: TensorInfo;
  readonly scales: TensorInfo;
  readonly groupIndex?: TensorInfo;
}
export type PackedWeights = ReadonlyMap<string, PackedWeight>;

type Tensors = ReadonlyMap<string, TensorInfo>;
/** Four-bit numbers in one of 32 bits. */
export const PER_NUMBER = 8;
const PARTS = /\.(?:qweight|qzeros|scales|g_idx)$/;

/** The packed weights of a checkpoint by the names that float weights would have ("model.layers.0.mlp.up_proj.weight"), and the names of
 *  their tensors. Undefined for other checkpoints, other bits included. */
export function packedWeights(
  config: Readonly<Record<string, unknown>>,
  tensors: Tensors,
): { readonly packed: PackedWeights; readonly parts: ReadonlySet<string> } | undefined {
  const layout = layoutOf(config.quantization_config);
  if (layout === undefined) return undefined;
  const packed = new Map<string, PackedWeight>();
  const parts = new Set<string>();
  for (const [name, qweight] of tensors) {
    if (!name.endsWith(".qweight")) continue;
    const module = name.slice(0, -".qweight".length);
    const [qzeros, scales, groupIndex] = ["qzeros", "scales", "g_idx"].map((part) => tensors.get(`${module}.${part}`));
    if (!qzeros || !scales) return undefined;
    const weight = sizesOf({ layout, qweight, qzeros, scales });
    if (!weight) return undefined;
    packed.set(`${module}.weight`, { ...weight, ...(groupIndex && { groupIndex }) });
  }
  const modules = new Set([...packed.keys()].map((name) => name.replace(/\.weight$/, "")));
  for (const name of tensors.keys()) if (PARTS.test(name) && modules.has(name.replace(PARTS, ""))) parts.add(name);
  return packed.size > 0 ? { packed, parts } : undefined;
}

function layoutOf(settings: unknown): PackedWeight["layout"] | undefined {
  const { quant_method: method, bits, checkpoint_format: format, version } = (settings ?? {}) as Readonly<Record<string, unknown>>;
  if (bits !== 4) return undefined;
  if (method === "awq") return version === undefined || String(version).toLowerCase() === "gemm" ? "awq" : undefined;
  if (method !== "gptq") return undefined;
  return format === undefined || format === "gptq" ? "gptq" : format === "gptq_v2" ? "gptq_v2" : undefined;
}

/** The sizes that fit all three tensors; undefined if none do. */
function sizesOf(parts: Pick<PackedWeight, "layout" | "qweight" | "qzeros" | "scales">): PackedWeight | undefined {
  const { layout, qweight, qzeros, scales } = parts;
  const [rows = 0, columns = 0] = qweight.shape;
  const [inputs, out] = layout === "awq" ? [rows, columns * PER_NUMBER] : [rows * PER_NUMBER, columns];
  const groups = scales.shape[0] ?? 0;
  const group = inputs / groups;
  const fits =
    qweight.dtype === "I32" &&
    qzeros.dtype === "I32" &&
    ["F16", "BF16", "F32"].includes(scales.dtype) &&
    Number.isInteger(group) &&
    String(scales.shape) === String([groups, out]) &&
    String(qzeros.shape) === String([groups, out / PER_NUMBER]);
  return fits ? { ...parts, in: inputs, out, group } : undefined;
}

/** The block along the input in which a weight's groups are exact: a power of 2 from 16 to 256; undefined if there is none. */
export function blockOf({ group }: Pick<PackedWeight, "group">): number | undefined {
  return [256, 128, 64, 32, 16].find((block) => group % block === 0);
}
