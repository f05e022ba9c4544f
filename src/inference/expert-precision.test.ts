/** @file Experts whose files are in 16 bits are held in 16 bits, and compute the same numbers as if they were widened when read. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { encode } from "../checkpoint/dtypes.ts";
import { storedTensor } from "../checkpoint/safetensors-bytes.ts";
import { randomExperts } from "../generation/woven.test-helper.ts";
import { lowered } from "../graph/lowering/lowered.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { smear } from "../methods/smear.ts";
import type { Engine } from "../runtime/engine.ts";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { ResidentFeeds } from "../runtime/resident.ts";
import { poolBytes } from "./pool-memory.ts";
import { ResidentExperts } from "./resident-experts.ts";
import { RoutedPool } from "./routed-pool.ts";

let model: LoadedModel;
let made: readonly Expert[];
beforeAll(async () => {
  model = await loadModel(golden("llama/model"), { engine: cpu });
  made = randomExperts(model, 5);
});
afterAll(() => model.dispose());

const batch = { inputIds: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(5n, 6n, 7n, 8n, 9n, 3n, 4n, 5n) } } as const;

/** The tensor as a file in this format has it. */
function inFile(tensor: HostTensor<"float32">, dtype: "F16" | "BF16"): HostTensor<"float32"> {
  const bytes = encode(tensor, dtype);
  const info = { name: "", file: "", dtype, shape: tensor.shape, offset: 0, bytes: bytes.length };
  return storedTensor(info, (to) => to.set(bytes))!;
}
function withFactors(expert: Expert, change: (weights: LoraWeights, index: number) => LoraWeights): Expert {
  const { modules } = expert.adapter as LoraAdapter;
  const changed = [...modules].map(([module, weights], i) => [module, change(weights, i)] as const);
  return { ...expert, adapter: { kind: "lora", modules: new Map(changed), warnings: [] } };
}
const stored = (expert: Expert, scaling = 1, dtype: "F16" | "BF16" = "F16") =>
  withFactors(expert, (weights) => ({ ...weights, scaling, a: inFile(weights.a, dtype), b: inFile(weights.b, dtype) }));
/** The same numbers, in float32 in memory. */
const wide = (expert: Expert) =>
  withFactors(expert, ({ a, b, ...rest }) => ({ ...rest, a: float32(a.shape, a.data), b: float32(b.shape, b.data) }));

const FORMATS = ["F16", "BF16"] as const;
const PRECISIONS = { F16: "float16", BF16: "bfloat16" };
const ROUTERS = [phatgoose(), phatgoose({ topK: 1 }), smear()];
const pooled = (experts: readonly Expert[], router = phatgoose()) => new RoutedPool(experts, model.base.modules, { router });
const logitsOf = async (pool: RoutedPool | ResidentExperts, on: LoadedModel = model) => (await on.runner.forward(pool, batch)).logits;
const precisions = (pool: RoutedPool) =>
  new Set(Object.entries(pool.feeds).flatMap(([name, { dtype }]) => (/\.(a|b)$/.test(name) ? [dtype] : [])));

/** The largest difference between two tensors. */
function apart(one: HostTensor<"float32">, other: HostTensor<"float32">): number {
  return one.data.reduce((far, value, i) => Math.max(far, Math.abs(value - other.data[i]!)), 0);
}

describe.each(FORMATS.flatMap((format) => ROUTERS.map((router) => ({ format, router, key: router.key }))))(
  "$format, $key",
  ({ format, router }) => {
    test.each([1, 2, 0.25])("logits equal to the bit those of the widened experts, with scaling %d", async (scaling) => {
      const half = made.map((expert) => stored(expert, scaling, format));
      const [own, reference] = [pooled(half, router), pooled(half.map(wide), router)];
      expect([[...precisions(own)], [...precisions(reference)]]).toEqual([[PRECISIONS[format]], ["float32"]]);
      expect(await logitsOf(own)).toEqual(await logitsOf(reference));
    });

    test("scalings that differ are those of each expert", async () => {
      const half = made.map((expert, i) => stored(expert, 0.7 + i, format));
      const [own, reference] = [await logitsOf(pooled(half, router)), await logitsOf(pooled(half.map(wide), router))];
      expect(apart(own, reference)).toBeLessThan(1e-4); // the weight is multiplied instead of the factor
      const unscaled = made.map((expert) => stored(expert, 1, format));
      expect(apart(own, await logitsOf(pooled(unscaled, router)))).toBeGreaterThan(0.1);
    });

    test("with biases, and one of smaller rank", async () => {
      const half = made.map((expert, i) =>
        withFactors(expert, (weights, place) => {
          const own = i === 1 ? narrower(weights) : weights;
          const bias = float32(
            [own.b.shape[0]!],
            Float32Array.from({ length: own.b.shape[0]! }, (_, at) => Math.sin(i + at + place)),
          );
          return { ...own, scaling: 2, bias, a: inFile(own.a, format), b: inFile(own.b, format) };
        }),
      );
      expect(await logitsOf(pooled(half, router))).toEqual(await logitsOf(pooled(half.map(wide), router)));
    });
  },
);

/** The first two ranks of a LoRA. */
function narrower({ a, b, rank, ...rest }: LoraWeights): LoraWeights {
  const [width, out] = [a.shape[1]!, b.shape[0]!];
  const columns = Float32Array.from({ length: 2 * out }, (_, at) => b.data[Math.floor(at / 2) * rank + (at % 2)]!);
  return { ...rest, rank: 2, a: float32([2, width], a.data.slice(0, 2 * width)), b: float32([out, 2], columns) };
}

test("one expert in another precision makes the stack float32", async () => {
  for (const other of [made[4]!, stored(made[4]!, 1, "BF16")]) {
    const mixed = [...made.slice(0, 4).map((expert) => stored(expert)), other];
    expect([...precisions(pooled(mixed))]).toEqual(["float32"]);
    expect(await logitsOf(pooled(mixed))).toEqual(await logitsOf(pooled(mixed.map(wide))));
  }
});

test.each(FORMATS)("experts in %s join and leave without a new graph; one in another precision makes it anew", async (format) => {
  const half = made.map((expert) => stored(expert, 1, format));
  const start = pooled(half.slice(0, 3));
  const grown = start.with(half[3]!).with(half[4]!).without(half[1]!.name);
  expect(grown.key).toBe(start.key);
  const left = [0, 2, 3, 4].map((i) => half[i]!);
  expect(await logitsOf(grown)).toEqual(await logitsOf(pooled(left)));
  expect(await logitsOf(grown)).toEqual(await logitsOf(pooled(left.map(wide))));
  for (const other of [made[4]!, stored(made[4]!, 2, format), stored(made[4]!, 1, format === "F16" ? "BF16" : "F16")]) {
    const anew = start.with(other);
    expect(anew.key).not.toBe(start.key);
    expect(await logitsOf(anew)).toEqual(await logitsOf(pooled([...half.slice(0, 3), other])));
  }
  const widened = pooled(half.slice(0, 3).map(wide));
  expect(widened.with(half[3]!).key).toBe(widened.key);
  const scaled = stored(made[3]!, 2, format);
  expect(await logitsOf(widened.with(scaled))).toEqual(await logitsOf(pooled([...half.slice(0, 3), scaled].map(wide))));
});

test.each(FORMATS)("experts in %s that are read when they are chosen", async (format) => {
  const half = made.map((expert, i) => stored(expert, i === 2 ? 2 : 1, format));
  const options = { most: 2, choose: async () => [[2], [3]] };
  const [own, reference] = [half, half.map(wide)].map((experts) => new ResidentExperts(experts, model.base.modules, options));
  expect(await logitsOf(own!)).toEqual(await logitsOf(reference!));
  expect(
    Object.values(own!.feedsOfChosen({ "resident.expert": { dtype: "int64", shape: [1, 1], data: BigInt64Array.of(0n) } })).some(
      ({ dtype }) => dtype === PRECISIONS[format],
    ),
  ).toBe(true);
});

test.each(FORMATS)("an engine without numbers in 16 bits widens feeds in %s", async (format) => {
  const capabilities = { ...cpu.capabilities, float16: false };
  const lacking: Engine = {
    ...cpu,
    name: "cpu without float16",
    capabilities,
    load: (graph, options) => cpu.load(lowered(graph, capabilities), options),
  };
  await using other = await loadModel(golden("llama/model"), { engine: lacking });
  const half = made.map((expert) => stored(expert, 2, format));
  expect(await logitsOf(pooled(half), other)).toEqual(await logitsOf(pooled(half)));
});

test.each(FORMATS)("a grown stack in %s crosses to a device as bits, and only what is new", async (format) => {
  const uploaded: HostTensor[] = [];
  const engine = {
    ...cpu,
    upload: (tensor: HostTensor) => {
      uploaded.push(tensor);
      return cpu.upload(tensor);
    },
  };
  const resident = new ResidentFeeds(engine);
  const half = made.map((expert) => stored(expert, 1, format));
  const start = pooled(half.slice(0, 2)).with(half[2]!);
  const release = resident.hold(start.feeds);
  await resident.copies(start.feeds);
  const count = uploaded.length;
  const grown = start.with(half[3]!);
  const releaseGrown = resident.hold(grown.feeds);
  const copies = await resident.copies(grown.feeds);
  expect(uploaded).toHaveLength(count);
  for (const [name, tensor] of Object.entries(grown.feeds)) {
    const copy = copies[name]!;
    if (!("read" in copy)) throw new Error(`${name} is not on the device`);
    expect([(await copy.read()).data, copy.dtype]).toEqual([tensor.data, tensor.dtype]);
  }
  release();
  releaseGrown();
  await resident.dispose();
});

test("the bytes of a pool are those of its stack", () => {
  const bytesIn = (experts: readonly Expert[]) => Object.values(pooled(experts).feeds).reduce((sum, { data }) => sum + data.byteLength, 0);
  const half = made.map((expert) => stored(expert));
  expect(poolBytes(half)).toBe(bytesIn(half));
  expect(poolBytes(made)).toBe(bytesIn(made));
  expect(poolBytes(half)).toBeLessThan(0.7 * poolBytes(made));
  expect(poolBytes(half, { widened: true })).toBe(poolBytes(made));
  expect(poolBytes([...half.slice(1), made[0]!])).toBe(poolBytes(made));
});
