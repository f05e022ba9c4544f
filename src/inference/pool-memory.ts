/** @file The memory that a pool takes when it is opened, said before it is taken. */

import { totalmem } from "node:os";
import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import { elements, type HostTensor } from "../base/tensor.ts";
import { mixingOf } from "../routing/mixings.ts";

/** The bytes of the experts' adapters and gates in memory: matrices in the precision of their stack (routing/mixing.ts), or all in float32
 *  where a method widens them; the rest is float32. */
export function poolBytes(experts: readonly Expert[], { widened = false }: { readonly widened?: boolean } = {}): number {
  const modules = new Map<string, unknown[]>();
  for (const { adapter } of experts) {
    for (const [module, weights] of adapter.modules) {
      const known = modules.get(module);
      if (known) known.push(weights);
      else modules.set(module, [weights]);
    }
  }
  const kinds = new Set(experts.map(({ adapter }) => adapter.kind));
  let bytes = 0;
  for (const all of modules.values()) {
    const [kind] = kinds;
    const isHalf = !widened && kinds.size === 1 && mixingOf(kind!).holding(all).precision !== "float32";
    for (const weights of all) for (const part of Object.values(weights as object)) bytes += bytesOf(part, isHalf ? 2 : 4);
  }
  for (const { gates } of experts) for (const gate of gates?.values() ?? []) bytes += bytesOf(gate, 4);
  return bytes;
}

/** The bytes of a tensor; 0 for a part of an adapter that is none. `width`: bytes of a number of a matrix. */
function bytesOf(part: unknown, width: number): number {
  if (typeof part !== "object" || part === null || !("shape" in part)) return 0;
  const { shape } = part as HostTensor;
  return elements(shape) * (shape.length > 1 ? width : 4);
}

/** The memory that this process may use: the machine's, or the limit of its control group. */
function memoryOfProcess(): number {
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

/** Refuses a pool that cannot fit into the memory, before any of it is read. `canLoadOnDemand`: whether `maxResident` is possible. */
export function checkMemory(
  experts: readonly Expert[],
  {
    where,
    canLoadOnDemand,
    widened = false,
    memory = memoryOfProcess(),
  }: { readonly where?: string; readonly canLoadOnDemand: boolean; readonly widened?: boolean; readonly memory?: number },
): void {
  const bytes = poolBytes(experts, { widened });
  if (bytes <= memory) return;
  throw new PoolError({
    code: "pool-too-large",
    data: { expected: bytes, got: memory },
    what: `The pool's ${experts.length} experts take ${gigabytes(bytes)} of memory, and the machine has ${gigabytes(memory)}.`,
    ...(where !== undefined && { where }),
    fix: canLoadOnDemand
      ? `Keep a part of them in memory with maxResident: ${Math.max(1, Math.floor((experts.length * memory) / bytes / 2))} take half of it.`
      : "Use fewer experts, or a router that takes one expert for each row (single, retrieval, moa) with maxResident.",
  });
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
