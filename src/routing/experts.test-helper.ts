/** @file For tests: the seven experts of the T5 goldens, and T5's decoder inputs from labels. */

import { golden, goldenTensors } from "../../tests/golden.ts";
import type { Expert } from "../adapters/expert.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { loadAdapter } from "../storage/peft.ts";

/** Row `i` of a tensor's first axis. */
export function row({ shape, data }: HostTensor<"float32">, i: number): HostTensor<"float32"> {
  const size = data.length / shape[0]!;
  return float32(shape.slice(1), data.slice(i * size, (i + 1) * size));
}

/** [columns, rows] */
export function transposed({ shape: [rows = 0, columns = 0], data }: HostTensor<"float32">): HostTensor<"float32"> {
  return float32(
    [columns, rows],
    Float32Array.from({ length: data.length }, (_, at) => data[(at % rows) * columns + Math.floor(at / rows)]!),
  );
}

/** The experts of the T5 goldens, with their gates. */
export async function t5Experts(modules: ModuleSizes): Promise<Expert[]> {
  const gates = await goldenTensors("phatgoose_t5/gates.safetensors");
  return Promise.all(
    Array.from({ length: 7 }, async (_, i): Promise<Expert> => {
      const adapter = await loadAdapter(golden(`phatgoose_t5/experts/expert_${i}`), modules);
      return { name: `e${i}`, adapter, gates: new Map(gates.names.map((name) => [name, row(gates.float(name), i)])), warnings: [] };
    }),
  );
}

/** Labels shifted by one to the right, after the start token 0, with 0 for -100. */
export function shiftedRight({ shape, data }: HostTensor<"int64">): HostTensor<"int64"> {
  const width = shape[1]!;
  return int64(
    shape,
    BigInt64Array.from(data, (_, i) => (i % width === 0 || data[i - 1] === -100n ? 0n : data[i - 1]!)),
  );
}
