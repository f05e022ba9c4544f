/** @file The memory that a pool takes when it is opened, said before it is taken. */

import { totalmem } from "node:os";
import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import { elements, type HostTensor } from "../base/tensor.ts";

/** The bytes of the experts' adapters and gates in float32. */
export function poolBytes(experts: readonly Expert[]): number {
  let numbers = 0;
  for (const { adapter, gates } of experts) {
    for (const weights of adapter.modules.values()) numbers += Object.values(weights).reduce((sum, part) => sum + countOf(part), 0);
    for (const gate of gates?.values() ?? []) numbers += countOf(gate);
  }
  return 4 * numbers;
}

/** The numbers of a tensor; 0 for a part of an adapter that is none. */
function countOf(part: unknown): number {
  return typeof part === "object" && part !== null && "shape" in part ? elements((part as HostTensor).shape) : 0;
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
    memory = memoryOfProcess(),
  }: { readonly where?: string; readonly canLoadOnDemand: boolean; readonly memory?: number },
): void {
  const bytes = poolBytes(experts);
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
