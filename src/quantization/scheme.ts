/** @file The quantization schemes of a base model's frozen tensors, and the form in which each scheme stores a tensor.
 *
 *    float32   as in the checkpoint, widened to float32 when the engine loads them
 *    float16   as in a checkpoint in F16, widened in each product: the numbers of float32, in half the memory, with more work
 *    int8      every projection, embedding and head: one scale per output channel (per row of an embedding); 8-bit activations
 *    int4      projections in blocks of 32 weights with one scale each; embeddings and heads as int8
 *
 *  Norms, biases and position tables stay in float. Adapters, gates and routing stay in float too. */

import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { blockOf, type PackedWeight, type PackedWeights } from "../checkpoint/packed-layout.ts";
import type { Architecture } from "../models/architecture.ts";
import { tracedModules } from "../models/logits.ts";

export const PRECISIONS = ["float32", "float16", "int8", "int4"] as const;
/** How the base's weights are stored and multiplied. Adapters, gates and routing are float32 always. */
export type Precision = (typeof PRECISIONS)[number];
/** How a base model is loaded. */
export const precisionOption = z
  .enum([...PRECISIONS, "auto"])
  .default("float32")
  .meta({
    description:
      "Bits of the base's weights: float32 as they are, float16 (F16 files in half the memory, slower), int8, int4, or auto: int8 where float32 takes over a quarter of the memory.",
  });
export type Scheme = Exclude<Precision, "float32" | "float16">;

/** Whether the base computes with the checkpoint's own numbers. */
export function hasOwnNumbers(precision: Precision): boolean {
  return precision === "float32" || precision === "float16";
}

/** How one tensor of the checkpoint is stored. */
export interface TensorPlan {
  readonly form: Form;
  /** Sizes of the projection y [out] = W x [in]. For a table of embeddings, `in` is its width and `out` its rows. */
  readonly in: number;
  readonly out: number;
  /** The checkpoint has the weight as [in, out]. */
  readonly inByOut: boolean;
  /** Weights that share a scale in the form "blocks". Default 32. */
  readonly block?: number;
  /** The weight comes in four bits, with zero points. */
  readonly packed?: PackedWeight;
}
/** channels: int8 [in, out]; rows: int8 [out, in]; blocks: 4 bits, [out, blocks, 16] */
export type Form = "channels" | "rows" | "blocks";

/** The tensors of a checkpoint whose weights come in four bits: those as they are, and with "int4" the others as in int4.
 *  @throws CheckpointError for a packed weight that is not a projection of the architecture. */
export function packedPlan(architecture: Architecture, packed: PackedWeights, precision: "float32" | "int4"): Map<string, TensorPlan> {
  const usual = quantizationPlan(architecture, "int4");
  const plan = new Map(precision === "int4" ? usual : []);
  for (const [name, weight] of packed) {
    const { in: inputs, out } = usual.get(name) ?? {};
    if (inputs !== weight.in || out !== weight.out) {
      throw new CheckpointError({
        code: "checkpoint-tensor-shape",
        data: { tensor: name, expected: `${out},${inputs}`, got: `${weight.out},${weight.in}` },
        what: `The weight ${name} in four bits has shape [${weight.out}, ${weight.in}], not [${out}, ${inputs}].`,
        where: weight.qweight.file,
        fix: "Export the checkpoint again; its config.json asks for this tensor.",
      });
    }
    plan.set(name, { form: "blocks", in: inputs, out, inByOut: false, block: blockOf(weight)!, packed: weight });
  }
  return plan;
}

/** The tensors that `scheme` stores in fewer bits, by their names in the checkpoint. */
export function quantizationPlan(architecture: Architecture, scheme: Scheme): Map<string, TensorPlan> {
  const plan = new Map<string, TensorPlan>();
  const modules = [...tracedModules(architecture)].filter(([, { idle }]) => !idle);
  const tensorOf = ([module, { tensor = `${module}.weight` }]: (typeof modules)[number]) => tensor;
  const tables = new Set(modules.filter(([, { embedding }]) => embedding).map(tensorOf));
  for (const entry of modules) {
    const [, { in: inputs, out, embedding, inByOut = false }] = entry;
    const name = tensorOf(entry);
    // A table that is also the head is stored once, in the layout of the head's product.
    if (embedding && !plan.has(name)) plan.set(name, { form: "rows", in: out, out: inputs, inByOut: false });
    if (embedding) continue;
    const isHead = tables.has(name) || out === architecture.vocabularySize;
    plan.set(name, { form: scheme === "int8" || isHead ? "channels" : "blocks", in: inputs, out, inByOut });
  }
  return plan;
}
