/** @file Reads four-bit weights of other tools (packed-layout.ts), and refuses those that the form of int4 cannot hold exactly. */

import { CheckpointError } from "../base/errors.ts";
import { blockOf, type PackedWeight, type PackedWeights, PER_NUMBER } from "./packed-layout.ts";
import { readTensor } from "./safetensors.ts";

// The place of each of eight outputs in an AWQ number.
const AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

/** Refuses weights that blocks along the input cannot hold exactly: groups of odd sizes, and groups whose inputs are not neighbors. */
export async function checkPacked(packed: PackedWeights, directory: string): Promise<void> {
  for (const [name, weight] of packed) {
    if (blockOf(weight) === undefined)
      throw refused(name, weight, directory, `its groups have ${weight.group} inputs, not a multiple of 16`);
    if (!weight.groupIndex) continue;
    const { data } = await readTensor(weight.groupIndex);
    const isInOrder =
      data.length === weight.in && data.every((value: number | bigint, i: number) => Number(value) === Math.floor(i / weight.group));
    if (!isInOrder)
      throw refused(name, weight, directory, "its inputs are ordered by activation (desc_act), so that groups are not neighbors");
  }
}

function refused(name: string, { layout }: PackedWeight, directory: string, why: string): CheckpointError {
  const kind = layout === "awq" ? "AWQ" : "GPTQ";
  return new CheckpointError({
    code: "checkpoint-quantized",
    data: { kind },
    what: `The weights are quantized with ${kind} in a form that is not read exactly: ${name}: ${why}.`,
    where: directory,
    fix: "Take the model that it was made from, or one quantized in plain groups (GPTQ without desc_act).",
  });
}

/** A weight in the form of int4 (quantization/int4.ts), with zero points. */
export interface UnpackedWeight {
  /** [out, blocks, block / 2] */
  readonly values: Uint8Array;
  /** [out, blocks] */
  readonly scales: Float32Array;
  /** [out, ceil(blocks / 2)] */
  readonly zeros: Uint8Array;
}

/** Reads a packed weight; no number changes. */
export async function unpacked(weight: PackedWeight, block: number): Promise<UnpackedWeight> {
  const { layout, in: inputs, out, group } = weight;
  const [q, z, s] = await Promise.all([readTensor(weight.qweight), readTensor(weight.qzeros), readTensor(weight.scales)]);
  const [words, zeroWords, factors] = [q.data as Int32Array, z.data as Int32Array, s.data as Float32Array];
  const width = out / PER_NUMBER;
  const place = (o: number) => 4 * (layout === "awq" ? AWQ_PLACES[o % PER_NUMBER]! : o % PER_NUMBER);
  const levelOf = (i: number, o: number) =>
    layout === "awq" ? (words[i * width + (o >> 3)]! >>> place(o)) & 15 : (words[(i >> 3) * out + o]! >>> (4 * (i % PER_NUMBER))) & 15;
  const zeroOf = (g: number, o: number) => ((zeroWords[g * width + (o >> 3)]! >>> place(o)) + (layout === "gptq" ? 1 : 0)) & 15;
  const blocks = inputs / block;
  const zeroRow = Math.ceil(blocks / 2);
  const result = {
    values: new Uint8Array((out * inputs) / 2),
    scales: new Float32Array(out * blocks),
    zeros: new Uint8Array(out * zeroRow),
  };
  for (let o = 0; o < out; o++) {
    for (let b = 0; b < blocks; b++) {
      const g = Math.floor((b * block) / group);
      result.scales[o * blocks + b] = factors[g * out + o]!;
      result.zeros[o * zeroRow + (b >> 1)]! |= zeroOf(g, o) << (4 * (b & 1));
    }
    const start = (o * inputs) / 2;
    for (let i = 0; i < inputs; i += 2) result.values[start + (i >> 1)] = levelOf(i, o) | (levelOf(i + 1, o) << 4);
  }
  return result;
}
