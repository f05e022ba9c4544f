/** @file A pool's experts stacked into the feeds of a routed graph, one set per module.
 *
 *      experts.<module>.a           [experts, rank, width]    zero rows above an expert's own rank
 *      experts.<module>.b           [experts, width, rank]    scaling folded in
 *      experts.<module>.prototypes  [experts, rows, in]       what the router scores by
 *      experts.<module>.bars        [experts]                 0, or BARRED where an expert lacks the module
 *
 *  width is the larger of the module's in and out: the engine's fused mixture wants square experts, so the shorter side
 *  is padded with zeros. Buffers grow by doubling, so adding an expert costs its own bytes and no graph is rebuilt. */

import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Feeds } from "../runtime/session.ts";
import { BARRED, type Router } from "./router.ts";

export interface ModuleShape {
  readonly in: number;
  readonly out: number;
  /** The largest rank the stack can hold. */
  readonly rank: number;
  /** Rows of a prototype. */
  readonly rows: number;
}

/** A float32 buffer of equal records that grows by doubling. */
class Records {
  readonly #shape: readonly number[];
  readonly #size: number;
  #data: Float32Array;
  #count = 0;

  constructor(shape: readonly number[]) {
    this.#shape = shape;
    this.#size = shape.reduce((product, n) => product * n, 1);
    this.#data = new Float32Array(this.#size);
  }
  /** The new record, zeroed, to be filled. */
  push(): Float32Array {
    const needed = (this.#count + 1) * this.#size;
    if (needed > this.#data.length) {
      const larger = new Float32Array(Math.max(needed, this.#data.length * 2));
      larger.set(this.#data);
      this.#data = larger;
    }
    this.#count++;
    return this.#data.subarray(needed - this.#size, needed);
  }
  get tensor(): HostTensor<"float32"> {
    return { dtype: "float32", shape: [this.#count, ...this.#shape], data: this.#data.subarray(0, this.#count * this.#size) };
  }
}

export const stackNames = (module: string) => ({
  a: `experts.${module}.a`,
  b: `experts.${module}.b`,
  prototypes: `experts.${module}.prototypes`,
  bars: `experts.${module}.bars`,
});

/** The stacked experts of every module that any of them covers. */
export class ExpertStack {
  readonly modules: ReadonlyMap<string, ModuleShape>;
  readonly names: string[] = [];
  readonly #router: Router;
  readonly #records: ReadonlyMap<string, { a: Records; b: Records; prototypes: Records; bars: Records }>;

  constructor(modules: ReadonlyMap<string, ModuleShape>, router: Router, experts: readonly Expert[]) {
    this.modules = modules;
    this.#router = router;
    this.#records = new Map(
      [...modules].map(([module, { in: inputs, out, rank, rows }]) => {
        const width = Math.max(inputs, out);
        return [
          module,
          { a: new Records([rank, width]), b: new Records([width, rank]), prototypes: new Records([rows, inputs]), bars: new Records([]) },
        ];
      }),
    );
    for (const expert of experts) this.add(expert);
  }

  /** Whether `expert` fits without a wider rank or another module, which would need a new graph. */
  fits(expert: Expert): boolean {
    return [...loraOf(expert)].every(([module, { rank }]) => rank <= (this.modules.get(module)?.rank ?? 0));
  }

  add(expert: Expert): void {
    const lora = loraOf(expert);
    for (const [module, records] of this.#records) {
      const shape = this.modules.get(module)!;
      const weights = lora.get(module);
      const prototype = weights && this.#router.prototype(expert, module);
      const [a, b, prototypes, bars] = [records.a.push(), records.b.push(), records.prototypes.push(), records.bars.push()];
      if (!weights || !prototype) {
        bars[0] = BARRED;
        continue;
      }
      prototypes.set(prototype.data);
      fillLora(a, b, weights, shape);
    }
    this.names.push(expert.name);
  }

  get feeds(): Feeds {
    const feeds: Record<string, HostTensor> = {};
    for (const [module, records] of this.#records) {
      const names = stackNames(module);
      feeds[names.a] = records.a.tensor;
      feeds[names.b] = records.b.tensor;
      feeds[names.prototypes] = records.prototypes.tensor;
      feeds[names.bars] = records.bars.tensor;
    }
    return feeds;
  }
}

function fillLora(a: Float32Array, b: Float32Array, weights: LoraWeights, shape: ModuleShape): void {
  const width = Math.max(shape.in, shape.out);
  for (let r = 0; r < weights.rank; r++) a.set(weights.a.data.subarray(r * shape.in, (r + 1) * shape.in), r * width);
  for (let o = 0; o < shape.out; o++) {
    for (let r = 0; r < weights.rank; r++) b[o * shape.rank + r] = weights.b.data[o * weights.rank + r]! * weights.scaling;
  }
}

/** The LoRA weights of an expert; other kinds cannot be stacked with them. */
export function loraOf(expert: Expert): ReadonlyMap<string, LoraWeights> {
  if (expert.adapter.kind !== "lora") {
    throw new AdapterError({
      what: `Expert "${expert.name}" is of kind ${expert.adapter.kind}.`,
      fix: "Route LoRA experts together, and other kinds in a pool of their own.",
    });
  }
  return expert.adapter.modules;
}

/** The shape each module's stack needs for these experts. */
export function stackShapes(
  experts: readonly Expert[],
  sizes: ReadonlyMap<string, { in: number; out: number }>,
  router: Router,
): Map<string, ModuleShape> {
  const shapes = new Map<string, ModuleShape>();
  for (const [module, size] of sizes) {
    const covering = experts.filter((expert) => loraOf(expert).has(module));
    if (covering.length === 0) continue;
    const rank = Math.max(...covering.map((expert) => loraOf(expert).get(module)!.rank));
    const rows = Math.max(1, ...covering.map((expert) => router.prototype(expert, module)?.shape[0] ?? 1));
    shapes.set(module, { in: size.in, out: size.out, rank, rows });
  }
  return shapes;
}
