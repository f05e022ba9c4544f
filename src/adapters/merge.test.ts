import { beforeAll, describe, expect, test } from "vitest";
import { invariant } from "../base/errors.ts";
import { seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import type { LoraAdapter, LoraWeights } from "./adapter.ts";
import { foldedWeight, loraProduct, type MergeMethod, mergeAdapters } from "./merge.ts";

const MODULES = ["model.layers.0.self_attn.k_proj", "model.layers.0.mlp.up_proj", "model.layers.1.mlp.down_proj"];
const WEIGHTS = [0.5, 0.3, 0.2];
let golden: Map<string, HostTensor>;

function goldenOf(name: string): HostTensor<"float32"> {
  const tensor = golden.get(name);
  invariant(tensor?.data instanceof Float32Array, `golden ${name}`);
  return { dtype: "float32", shape: tensor.shape, data: tensor.data };
}

function goldenLora(name: string, module: string): LoraWeights {
  const [a, b] = [goldenOf(`${name}.${module}.A`), goldenOf(`${name}.${module}.B`)];
  return { rank: a.shape[0]!, scaling: 1, a, b };
}

/** The three adapters that were merged, taken out of PEFT's exact `cat` (A times weight * 0.25, stacked). */
function experts(): LoraAdapter[] {
  return WEIGHTS.map((weight, z) => {
    const modules = MODULES.map((module) => {
      const { a, b } = goldenLora("cat", module);
      const [width, out] = [a.shape[1]!, b.shape[0]!];
      const rows = a.data.slice(z * 4 * width, (z + 1) * 4 * width).map((value) => value / (weight * 0.25));
      const columns = Float32Array.from({ length: out * 4 }, (_, i) => b.data[Math.floor(i / 4) * 12 + z * 4 + (i % 4)]!);
      return [module, { rank: 4, scaling: 0.25, a: float32([4, width], rows), b: float32([out, 4], columns) }] as const;
    });
    return { kind: "lora", modules: new Map(modules), warnings: [] };
  });
}

function difference(x: ArrayLike<number>, y: ArrayLike<number>): number {
  expect(x.length).toBe(y.length);
  return Math.max(...Array.from(x, (value, i) => Math.abs(value - y[i]!)));
}

beforeAll(async () => {
  golden = await readSafetensors("tests/golden/merges/merges.safetensors");
});

function masks(name: string): (module: string, factor: "a" | "b" | "product") => Uint8Array[] {
  return (module, factor) => {
    const { data, shape } = golden.get(`${name}.mask.${module}.${factor.toUpperCase()}`)!;
    invariant(data instanceof Uint8Array, "masks are bytes");
    const size = data.length / shape[0]!;
    return [0, 1, 2].map((z) => data.slice(z * size, (z + 1) * size));
  };
}

describe("merges agree with PEFT", () => {
  const byFactors: [string, MergeMethod, number[]][] = [
    ["linear", { kind: "linear" }, WEIGHTS],
    ["linear_equal", { kind: "linear" }, [1, 1, 1]],
    ["cat", { kind: "cat" }, WEIGHTS],
    ["ties", { kind: "ties", density: 0.5 }, WEIGHTS],
    ["ties_frequency", { kind: "ties", density: 0.3, majoritySign: "frequency" }, [1, 0.7, 1.3]],
    ["dare_linear_rescaled", { kind: "dare_linear", density: 0.6, masks: (m, f) => masks("dare_linear_rescaled")(m, f) }, WEIGHTS],
    ["dare_ties_rescaled", { kind: "dare_ties", density: 0.6, masks: (m, f) => masks("dare_ties_rescaled")(m, f) }, WEIGHTS],
    ["magnitude_prune", { kind: "magnitude_prune", density: 0.4 }, WEIGHTS],
  ];
  test.each(byFactors)("%s: A and B to 1e-6", (name, method, weights) => {
    const merged = mergeAdapters(experts(), method, weights);
    for (const module of MODULES) {
      const [ours, theirs] = [merged.modules.get(module)!, goldenLora(name, module)];
      expect([ours.rank, ours.scaling]).toEqual([theirs.rank, 1]);
      expect(difference(ours.a.data, theirs.a.data)).toBeLessThan(1e-6); // float32 rounding of numbers about 1
      expect(difference(ours.b.data, theirs.b.data)).toBeLessThan(1e-6);
    }
  });

  // Every entry that PEFT 0.12 keeps is smaller by the density, so A and B of its DARE are too (checked against 0.12's own).
  test.each(["dare_linear", "dare_ties"] as const)("%s without rescaling is PEFT 0.12's", (kind) => {
    const name = `${kind}_rescaled`;
    const merged = mergeAdapters(experts(), { kind, density: 0.6, rescale: false, masks: (m, f) => masks(name)(m, f) }, WEIGHTS);
    for (const module of MODULES) {
      const [ours, theirs] = [merged.modules.get(module)!, goldenLora(name, module)];
      const smaller = (values: Float32Array) => values.map((value) => 0.6 * value);
      expect(difference(ours.a.data, smaller(theirs.a.data))).toBeLessThan(1e-6);
      expect(difference(ours.b.data, smaller(theirs.b.data))).toBeLessThan(1e-6);
    }
  });

  const byProduct: [string, MergeMethod][] = [
    ["svd", { kind: "svd" }],
    ["svd_rank12_exact", { kind: "svd", rank: 12 }],
    ["ties_svd", { kind: "ties_svd", density: 0.5 }],
  ];
  test.each(byProduct)("%s: the product to 1e-5 (the signs of singular vectors are free)", (name, method) => {
    const merged = mergeAdapters(experts(), method, WEIGHTS);
    for (const module of MODULES) {
      const [ours, theirs] = [merged.modules.get(module)!, goldenLora(name, module)];
      expect(ours.rank).toBe(theirs.rank);
      expect(difference(loraProduct(ours), loraProduct(theirs))).toBeLessThan(1e-5);
    }
  });
});

describe("average", () => {
  test("is the mean of the products, and not the product of the means", () => {
    const parts = experts();
    const merged = mergeAdapters(parts, { kind: "average" });
    for (const module of MODULES) {
      const products = parts.map(({ modules }) => loraProduct(modules.get(module)!));
      const mean = products[0]!.map((_, i) => products.reduce((sum, product) => sum + product[i]! / 3, 0));
      expect(difference(loraProduct(merged.modules.get(module)!), mean)).toBeLessThan(1e-6);
      const crossed = mergeAdapters(parts, { kind: "linear" }, [1 / 3, 1 / 3, 1 / 3]).modules.get(module)!;
      expect(difference(loraProduct(crossed), mean)).toBeGreaterThan(0.01);
    }
  });

  test("takes different ranks and modules, and cuts to a rank when asked", () => {
    const parts = experts();
    const [first, second] = parts as [LoraAdapter, LoraAdapter];
    const one: LoraAdapter = {
      ...second,
      modules: new Map([[MODULES[0]!, mergeAdapters([first, second], { kind: "cat" }).modules.get(MODULES[0]!)!]]),
    };
    const merged = mergeAdapters([first, one], { kind: "average" });
    expect([...merged.modules.values()].map(({ rank }) => rank)).toEqual([12, 4, 4]);
    const exact = mergeAdapters(parts, { kind: "average" }).modules.get(MODULES[0]!)!;
    const whole = mergeAdapters(parts, { kind: "average", rank: 11 }).modules.get(MODULES[0]!)!;
    expect(whole.rank).toBe(11);
    // Dropping the smallest of 12 singular values changes little, dropping all but one much.
    expect(difference(loraProduct(whole), loraProduct(exact))).toBeLessThan(0.2);
    expect(difference(loraProduct(whole), loraProduct(exact))).toBeGreaterThan(1e-6);
  });
});

test("DARE keeps about the density, and the seed repeats it", () => {
  const a = mergeAdapters(experts(), { kind: "dare_linear", density: 0.6, seed: 7 });
  const b = mergeAdapters(experts(), { kind: "dare_linear", density: 0.6, seed: 7 });
  const c = mergeAdapters(experts(), { kind: "dare_linear", density: 0.6, seed: 8 });
  expect(a.modules).toEqual(b.modules);
  expect(a.modules).not.toEqual(c.modules);
  const alone = mergeAdapters(experts().slice(0, 1), { kind: "dare_linear", density: 0.6 }).modules.get(MODULES[1]!)!;
  const kept = alone.b.data.filter((value) => value !== 0).length / alone.b.data.length;
  expect(Math.abs(kept - 0.6)).toBeLessThan(0.1); // 384 draws: 4 standard deviations
});

test("a folded weight is W + scaling B A, in either layout", () => {
  const random = seededRandom(3);
  const lora = experts()[0]!.modules.get(MODULES[1]!)!; // [96, 64]
  const weight = float32(
    [96, 64],
    Float32Array.from({ length: 96 * 64 }, () => random.normal()),
  );
  const flipped = float32(
    [64, 96],
    Float32Array.from({ length: 96 * 64 }, (_, i) => weight.data[(i % 96) * 64 + Math.floor(i / 96)]!),
  );
  const product = loraProduct(lora);
  const folded = foldedWeight(weight, lora);
  expect(
    difference(
      folded.data,
      weight.data.map((value, i) => value + product[i]!),
    ),
  ).toBeLessThan(1e-6);
  const other = foldedWeight(flipped, lora, { transposed: true });
  expect(other.data[5 * 96 + 7]).toBe(folded.data[7 * 64 + 5]);
  expect(() => foldedWeight(flipped, lora)).toThrow(/expected a weight \[96, 64\]/);
});

test("weights that do not fit, ranks that differ and densities out of range are named", () => {
  const parts = experts();
  expect(() => mergeAdapters(parts, { kind: "cat" }, [1])).toThrow(/3 adapters and 1 weights/);
  expect(() => mergeAdapters(parts, { kind: "ties" })).toThrow(/density in \(0, 1\], got undefined/);
  const wide = mergeAdapters(parts, { kind: "cat" });
  expect(() => mergeAdapters([parts[0]!, wide], { kind: "linear" })).toThrow(/one rank.*4, 12/);
});
