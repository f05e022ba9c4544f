/** @file Quantizes one tensor of a checkpoint a few rows at a time, so that a large table is never in memory as float32. */

import { invariant } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { DTYPE_BYTES } from "../checkpoint/dtypes.ts";
import type { PackedWeight } from "../checkpoint/packed-layout.ts";
import { unpacked } from "../checkpoint/packed-weights.ts";
import { readTensor, type TensorInfo } from "../checkpoint/safetensors.ts";
import { BLOCK, int4Rows } from "./int4.ts";
import { int8Rows, intoColumns, PRODUCT_RANGE, TABLE_RANGE } from "./int8.ts";
import type { Form, TensorPlan } from "./scheme.ts";

const MOST_VALUES = 2 ** 24; // read at once: 64 MB of float32

/** The stored form of a tensor: its values and its scales. */
export interface StoredTensor {
  readonly values: HostTensor<"int8" | "uint8">;
  readonly scales: HostTensor<"float32">;
  /** Zero points of 4 bits; 8 for all when absent. */
  readonly zeros?: HostTensor<"uint8">;
}

/** The shapes of a stored tensor, known before it is made. */
export function storedShapes({ form, in: inputs, out, block = BLOCK, packed }: TensorPlan): {
  readonly values: readonly number[];
  readonly scales: readonly number[];
  readonly zeros?: readonly number[];
} {
  const blocks = Math.ceil(inputs / block);
  const shapes: { readonly [F in Form]: [values: readonly number[], scales: readonly number[]] } = {
    channels: [[inputs, out], [out]],
    rows: [[out, inputs], [out]],
    blocks: [
      [out, blocks, block / 2],
      [out, blocks],
    ],
  };
  const [values, scales] = shapes[form];
  return { values, scales, ...(packed && { zeros: [out, Math.ceil(blocks / 2)] }) };
}

/** A weight that comes in four bits, in the stored form; no number changes. */
export async function repacked(weight: PackedWeight, plan: TensorPlan): Promise<StoredTensor> {
  const { values, scales, zeros = [] } = storedShapes(plan);
  const made = await unpacked(weight, plan.block ?? BLOCK);
  return {
    values: { dtype: "uint8", shape: values, data: made.values },
    scales: { dtype: "float32", shape: scales, data: made.scales },
    zeros: { dtype: "uint8", shape: zeros, data: made.zeros },
  };
}

/** Quantizes `info`, a tensor of the checkpoint, as `plan` says. */
export async function quantized(info: TensorInfo, plan: TensorPlan): Promise<StoredTensor> {
  const shapes = storedShapes(plan);
  const size = plan.in * plan.out;
  const scales = new Float32Array(shapes.scales.reduce((a, b) => a * b, 1));
  const values = plan.form === "blocks" ? new Uint8Array(shapes.values.reduce((a, b) => a * b, 1)) : new Int8Array(size);
  const perRead = plan.inByOut ? plan.out : Math.max(1, Math.floor(MOST_VALUES / plan.in));
  for (let at = 0; at < plan.out; at += perRead) {
    const count = Math.min(perRead, plan.out - at);
    const rows = plan.inByOut ? transposed(await floats(info), plan) : await floats(rowsOfTensor(info, at, count));
    fill({ values, scales }, rows, plan, at);
  }
  return {
    values: { dtype: plan.form === "blocks" ? "uint8" : "int8", shape: shapes.values, data: values },
    scales: { dtype: "float32", shape: shapes.scales, data: scales },
  };
}

/** Writes rows [count, in] of the weight, from row `at` on, into the stored tensor. */
function fill(
  to: { readonly values: Int8Array | Uint8Array; readonly scales: Float32Array },
  rows: Float32Array,
  plan: TensorPlan,
  at: number,
): void {
  const { form, in: width, out } = plan;
  if (form === "blocks") {
    const made = int4Rows(rows, width);
    const blocks = Math.ceil(width / BLOCK);
    to.values.set(made.values, (at * blocks * BLOCK) / 2);
    to.scales.set(made.scales, at * blocks);
    return;
  }
  const made = int8Rows(rows, width, form === "rows" ? TABLE_RANGE : PRODUCT_RANGE);
  to.scales.set(made.scales, at);
  if (form === "rows") to.values.set(made.values, at * width);
  else intoColumns(to.values as Int8Array, made.values, { width, at, columns: out });
}

function rowsOfTensor(info: TensorInfo, at: number, count: number): TensorInfo {
  const width = info.shape.at(-1)!;
  const rowBytes = width * DTYPE_BYTES[info.dtype];
  return { ...info, shape: [count, width], offset: info.offset + at * rowBytes, bytes: count * rowBytes };
}

async function floats(info: TensorInfo): Promise<Float32Array> {
  const { data } = await readTensor(info);
  invariant(data instanceof Float32Array, `${info.name} is no tensor of floats`);
  return data;
}

function transposed(values: Float32Array, { in: inputs, out }: TensorPlan): Float32Array {
  const turned = new Float32Array(values.length);
  for (let i = 0; i < inputs; i++) for (let o = 0; o < out; o++) turned[o * inputs + i] = values[i * out + o]!;
  return turned;
}
