/** @file The base model's own weights in an adapter's file (reference: peft, utils/save_and_load.py, get_peft_model_state_dict).
 *
 *    <module>.base_layer.weight   under an adapter on embeddings or the head: frozen, so only its shape is checked
 *    <module>.weight              embeddings or head saved whole (save_embedding_layers): accepted if it equals the base's weight up
 *                                 to the rounding of its own dtype; any other has been trained or resized, and is refused */

import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { TensorInfo } from "../checkpoint/safetensors-header.ts";
import { baseName, type ModuleSizes, type PrefixChange } from "./modules.ts";
import { float32Of, type ReadTensor } from "./tensor-file.ts";

interface BaseWeights {
  readonly frozen: ReadonlyMap<string, TensorInfo>;
  readonly whole: ReadonlyMap<string, TensorInfo>;
  readonly directory: string;
}

interface Base {
  readonly modules: ModuleSizes;
  readonly change: PrefixChange;
  readonly readTensor: ReadTensor;
}

/** Refuses a frozen weight whose shape differs from the base's: the adapter was trained on a resized or another model. */
export function checkFrozen({ frozen, directory }: BaseWeights, modules: ModuleSizes, change: PrefixChange): void {
  for (const [path, info] of frozen) {
    const weight = modules.get(baseName(path, change, modules))?.weight;
    if (!weight || info.shape.length !== weight.shape.length || String(info.shape) === String(weight.shape)) continue;
    throw new AdapterError({
      code: "adapter-shape",
      data: { module: path },
      what: `"${info.name}" is the base model's weight [${info.shape.join(", ")}]; this base has [${weight.shape.join(", ")}].`,
      where: directory,
      fix: "Use the base model this adapter was trained on; where its vocabulary was resized, save that base with it.",
    });
  }
}

/** Refuses embeddings or heads saved whole, unless they equal the base's. */
export async function checkWhole({ whole, directory }: BaseWeights, { modules, change, readTensor }: Base): Promise<void> {
  for (const [path, info] of whole) {
    const weight = modules.get(baseName(path, change, modules))?.weight;
    const why = weight ? await difference(info, weight, readTensor) : "without the base model it cannot be told whether it was trained";
    if (why === undefined) continue;
    throw new AdapterError({
      code: weight ? "adapter-unsupported" : "adapter-needs-base",
      data: { tensor: info.name },
      what: `Tensor "${info.name}" is a whole tensor of the base model (save_embedding_layers, or a resized vocabulary): ${why}.`,
      where: directory,
      fix: weight
        ? "Merge the adapter into its base with PEFT and use the result as a base, or train again without it."
        : "Give the base model; where the tensor equals the base's, the adapter is usable.",
    });
  }
}

/** Largest relative error of rounding to a dtype. */
const ROUNDING: Partial<Record<TensorInfo["dtype"], number>> = { BF16: 2 ** -8, F16: 2 ** -11 };
const SMALLEST_F16 = 2 ** -25; // half the distance between its numbers near 0

/** How two tensors differ; undefined when they are the same up to the rounding of `saved`. */
async function difference(saved: TensorInfo, base: TensorInfo, readTensor: ReadTensor): Promise<string | undefined> {
  if (String(saved.shape) !== String(base.shape)) return `it is [${saved.shape.join(", ")}], the base's [${base.shape.join(", ")}]`;
  const [own, theirs] = [numbersOf(saved, await readTensor(saved)), numbersOf(base, await readTensor(base))];
  const rounding = ROUNDING[saved.dtype] ?? 0;
  const least = saved.dtype === "F16" ? SMALLEST_F16 : 0;
  const other = own.reduce(
    (count, value, i) => count + (Math.abs(value - theirs[i]!) <= rounding * Math.abs(theirs[i]!) + least ? 0 : 1),
    0,
  );
  return other === 0 ? undefined : `${other} of its ${own.length} numbers are not the base's`;
}

function numbersOf({ name, file }: TensorInfo, tensor: HostTensor): Float32Array {
  return float32Of(name, tensor, file).data;
}
