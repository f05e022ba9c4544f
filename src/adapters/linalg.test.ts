import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { SHARED_GOLDEN } from "../../tests/adapter-fixtures.ts";
import { invariant } from "../base/errors.ts";
import { seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { addProduct, productSvd, spectralFactors, topRightSingularVector, truncatedSvd } from "./linalg.ts";

function randomTensor(shape: [number, number], seed: number): HostTensor<"float32"> {
  const random = seededRandom(seed);
  return float32(
    shape,
    Float32Array.from({ length: shape[0] * shape[1] }, () => random.normal()),
  );
}

/** M x for M = B A. */
function image(a: HostTensor<"float32">, b: HostTensor<"float32">, x: ArrayLike<number>): number[] {
  const dense = new Float64Array(b.shape[0]! * a.shape[1]!);
  addProduct(dense, a, b, 1);
  return Array.from({ length: b.shape[0]! }, (_, o) =>
    Array.from(x).reduce((sum, value, i) => sum + dense[o * a.shape[1]! + i]! * value, 0),
  );
}

const norm = (x: ArrayLike<number>) => Math.hypot(...Array.from(x));
const cosine = (x: ArrayLike<number>, y: ArrayLike<number>) =>
  Array.from(x).reduce((sum, value, i) => sum + value * y[i]!, 0) / (norm(x) * norm(y));

describe("prototypes", () => {
  test("agree with the PHATGOOSE authors' for Arrow", async () => {
    const golden = await readSafetensors("tests/golden/merges/merges.safetensors");
    const float = (name: string) => {
      const tensor = golden.get(name);
      invariant(tensor?.data instanceof Float32Array, name);
      return { shape: tensor.shape, data: tensor.data };
    };
    for (const module of ["model.layers.0.self_attn.k_proj", "model.layers.0.mlp.up_proj", "model.layers.1.mlp.down_proj"]) {
      const [a, b] = [float(`cat.${module}.A`), float(`cat.${module}.B`)];
      for (const [z, expert] of [0, 2, 5].entries()) {
        const width = a.shape[1]!;
        const rows = float32([4, width], a.data.slice(z * 4 * width, (z + 1) * 4 * width));
        const columns = float32(
          [b.shape[0]!, 4],
          Float32Array.from({ length: b.shape[0]! * 4 }, (_, i) => b.data[Math.floor(i / 4) * 12 + z * 4 + (i % 4)]!),
        );
        const theirs = float(`prototype.${module}.${expert}`).data;
        expect(1 - Math.abs(cosine(topRightSingularVector(rows, columns), theirs))).toBeLessThan(1e-6);
      }
    }
  });

  test.skipIf(!existsSync(SHARED_GOLDEN))("agree for every module and expert of the tiny T5", async () => {
    const golden = await readSafetensors(`${SHARED_GOLDEN}/arrow/prototypes_t5.safetensors`);
    let compared = 0;
    for (let z = 0; z < 7; z++) {
      const expert = await readSafetensors(`${SHARED_GOLDEN}/phatgoose_t5/experts/expert_${z}/adapter_model.safetensors`);
      for (const [name, theirs] of golden) {
        const module = /^top1_eigen_weighted_vector\.(.+)\._addons.*__(\d)$/.exec(name);
        if (Number(module?.[2]) !== z) continue;
        const [a, b] = ["A", "B"].map((f) => expert.get(`base_model.model.${module?.[1]}.lora_${f}.weight`));
        invariant(a?.data instanceof Float32Array && b?.data instanceof Float32Array && theirs.data instanceof Float32Array, name);
        const ours = topRightSingularVector(float32(a.shape, a.data), float32(b.shape, b.data));
        // The second singular values reach 0.986 of the first, so the float32 golden is exact only to about 1e-4 in angle.
        expect(1 - Math.abs(cosine(ours, theirs.data))).toBeLessThan(1e-7);
        compared++;
      }
    }
    expect(compared).toBe(252);
  });

  test("are the direction the product stretches most, with unit length", () => {
    const [a, b] = [randomTensor([3, 40], 1), randomTensor([50, 3], 2)];
    const v = topRightSingularVector(a, b);
    expect(norm(v)).toBeCloseTo(1, 12);
    expect(norm(image(a, b, v))).toBeCloseTo(productSvd(a, b).values[0]!, 9);
  });

  test("are zero for an adapter that changes nothing", () => {
    expect(topRightSingularVector(randomTensor([2, 5], 1), float32([6, 2]))).toEqual(new Float64Array(5));
  });
});

test("spectral factors keep the product, and || sv x || is || B A x ||", () => {
  const [a, b] = [randomTensor([4, 30], 3), randomTensor([20, 4], 4)];
  const { u, sv } = spectralFactors(a, b);
  expect([u.shape, sv.shape]).toEqual([
    [20, 4],
    [4, 30],
  ]);
  const x = randomTensor([1, 30], 5).data;
  const whole = image(a, b, x);
  const again = image(sv, u, x);
  expect(Math.max(...whole.map((value, i) => Math.abs(value - again[i]!)))).toBeLessThan(1e-4); // float32 factors, values about 20
  const short = Array.from({ length: 4 }, (_, r) => x.reduce((sum, value, i) => sum + sv.data[r * 30 + i]! * value, 0));
  expect(norm(short)).toBeCloseTo(norm(whole), 3);
});

test("dependent columns and ranks above the sizes still give the product", () => {
  const a = float32([5, 3], Float32Array.from(randomTensor([5, 3], 6).data));
  const b = float32([2, 5], [1, 1, 2, 0, 3, 2, 2, 4, 0, 6]); // second row is twice the first: rank 1
  const { left, values, right } = productSvd(a, b);
  const dense = new Float64Array(6);
  addProduct(dense, a, b, 1);
  const again = dense.map((_, i) => values.reduce((sum, s, k) => sum + s * left[k]![Math.floor(i / 3)]! * right[k]![i % 3]!, 0));
  expect(Math.max(...dense.map((value, i) => Math.abs(value - again[i]!)))).toBeLessThan(1e-12);
});

test("a large dense matrix is cut by iteration to what the full decomposition gives", () => {
  const [out, width] = [300, 280]; // just above the exact limit
  const dense = new Float64Array(out * width);
  addProduct(dense, randomTensor([6, width], 7), randomTensor([out, 6], 8), 1);
  const noise = seededRandom(9);
  for (let i = 0; i < dense.length; i++) dense[i]! += 0.01 * noise.normal();
  const { left, values, right } = truncatedSvd(dense, { out, in: width }, 6);
  for (const [k, value] of values.entries()) {
    const stretched = Float64Array.from({ length: out }, (_, o) => right[k]!.reduce((sum, v, i) => sum + v * dense[o * width + i]!, 0));
    expect(norm(stretched.map((s, o) => s - value * left[k]![o]!))).toBeLessThan(1e-6 * value);
  }
  expect([...values].sort((p, q) => q - p)).toEqual(values);
});

test("rows of which few differ are decomposed, their other values 0", () => {
  const random = seededRandom(5);
  const kinds = Array.from({ length: 3 }, () => Float32Array.from({ length: 64 }, () => random.normal()));
  const rows = Array.from({ length: 80 }, (_, i) => kinds[i < 40 ? 0 : 1 + (i % 2)]!);
  const mean = kinds[0]!.map((_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length);
  const dense = Float64Array.from(rows.flatMap((row) => [...row.map((value, i) => value - mean[i]!)]));
  const { left, values, right } = truncatedSvd(dense, { out: 80, in: 64 }, 64);
  expect(values).toHaveLength(64);
  expect(values.filter((value) => value > 1e-5 * values[0]!)).toHaveLength(2); // three points span two directions
  const back = Array.from(dense, (_, at) =>
    values.reduce((sum, value, k) => sum + value * left[k]![Math.floor(at / 64)]! * right[k]![at % 64]!, 0),
  );
  expect(Math.max(...back.map((value, at) => Math.abs(value - dense[at]!)))).toBeLessThan(1e-9);
  expect(truncatedSvd(new Float64Array(12), { out: 3, in: 4 }, 3).values).toEqual([0, 0, 0]);
});
