import { beforeAll, expect, test } from "vitest";
import { golden, goldenTensors } from "../../tests/golden.ts";
import type { Expert } from "../adapters/expert.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { uniform } from "../methods/uniform.ts";
import { t5Experts } from "../routing/experts.test-helper.ts";
import { loraOf } from "../routing/stack.ts";
import type { Batch } from "./batch.ts";
import { RoutedPool } from "./routed-pool.ts";

const batch = await t5Batch();
let experts: Expert[];
beforeAll(async () => {
  await using model = await loadModel(golden("t5/model"));
  experts = await t5Experts(model.base.modules);
});

async function t5Batch(): Promise<Batch> {
  const { int } = await goldenTensors("t5/golden.safetensors");
  return { inputIds: int("input_ids"), attentionMask: int("attention_mask"), decoderInputIds: int("decoder_input_ids") };
}
const pooled = ({ base }: LoadedModel, members: readonly Expert[]) => new RoutedPool(members, base.modules, { router: phatgoose() });
const computed = (model: LoadedModel, pool: RoutedPool) => model.withWoven(pool).forward(batch, { routes: true });

test("experts join and leave without a new graph, and the result is to the bit that of a pool made anew", async () => {
  await using model = await loadModel(golden("t5/model"));
  const start = pooled(model, experts.slice(0, 4));
  const walks: readonly (readonly [RoutedPool, readonly number[]])[] = [
    [start, [0, 1, 2, 3]],
    [start.with(experts[4]!), [0, 1, 2, 3, 4]],
    [start.without("e1"), [0, 2, 3]],
    [start.without("e3"), [0, 1, 2]],
    [start.without("e3").with(experts[5]!), [0, 1, 2, 5]],
    [start.without("e0").without("e2").with(experts[6]!).with(experts[0]!), [1, 3, 6, 0]],
    [start.with(experts[4]!).with(experts[5]!).with(experts[6]!).without("e4"), [0, 1, 2, 3, 5, 6]],
  ];
  const results = [];
  for (const [pool] of walks) results.push(await computed(model, pool));
  expect(model.runner.counts.built).toBe(1);
  for (const [i, [pool, members]] of walks.entries()) {
    const anew = pooled(
      model,
      members.map((z) => experts[z]!),
    );
    expect(pool.experts).toEqual(anew.experts);
    expect(pool.key).toBe(start.key);
    expect(results[i]).toEqual(await computed(model, anew));
  }
});

test("snapshots of one pool do not disturb each other, in whatever order they grow", async () => {
  await using model = await loadModel(golden("t5/model"));
  const start = pooled(model, experts.slice(0, 3));
  const before = await computed(model, start);
  const [one, other] = [start.with(experts[3]!), start.with(experts[4]!)]; // both append where `start` ends
  const third = one.without("e3").with(experts[5]!);
  expect(await computed(model, start)).toEqual(before);
  for (const [pool, last] of [
    [one, 3],
    [other, 4],
    [third, 5],
  ] as const) {
    expect(await computed(model, pool)).toEqual(await computed(model, pooled(model, [...experts.slice(0, 3), experts[last]!])));
  }
});

test("appending shares the buffers; a copy is made only where another snapshot has grown", async () => {
  await using model = await loadModel(golden("t5/model"));
  const start = pooled(model, experts.slice(0, 3)).with(experts[3]!); // grown: there is room now
  const name = Object.keys(start.feeds).find((feed) => feed.endsWith(".a"))!;
  const bufferOf = (pool: RoutedPool) => pool.feeds[name]!.data.buffer;
  const grown = start.with(experts[4]!);
  expect(bufferOf(grown)).toBe(bufferOf(start));
  expect(bufferOf(start.with(experts[5]!))).not.toBe(bufferOf(start));
  expect(bufferOf(grown.without("e4"))).toBe(bufferOf(start));
});

test("a graph is rebuilt for a larger rank and for a new module", async () => {
  await using model = await loadModel(golden("t5/model"));
  const [module, lora] = [...loraOf(experts[3]!)][0]!;
  const narrow = experts.slice(0, 3).map((expert): Expert => {
    const modules = new Map([...loraOf(expert)].filter(([other]) => other !== module));
    return { ...expert, adapter: { kind: "lora", modules, warnings: [] } };
  });
  const start = pooled(model, narrow);
  const wider = start.with(experts[3]!);
  expect(wider.key).not.toBe(start.key);
  const twice = { ...lora, rank: 2 * lora.rank, a: doubled(lora.a, "rows"), b: doubled(lora.b, "columns") };
  const broad: Expert = {
    ...experts[4]!,
    adapter: { kind: "lora", modules: new Map([...loraOf(experts[4]!), [module, twice]]), warnings: [] },
  };
  const broader = wider.with(broad);
  expect(broader.key).not.toBe(wider.key);
  for (const pool of [start, wider, broader, broader.without(broad.name)]) await computed(model, pool);
  expect(model.runner.counts.built).toBe(3);
  expect(await computed(model, broader.without(broad.name).without("e3"))).toMatchObject({ logits: (await computed(model, start)).logits });
});

function doubled<T extends { readonly shape: readonly number[]; readonly data: Float32Array }>(tensor: T, way: "rows" | "columns"): T {
  const [rows = 0, columns = 0] = tensor.shape;
  const shape = way === "rows" ? [2 * rows, columns] : [rows, 2 * columns];
  const data = Float32Array.from({ length: 2 * rows * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / shape[1]!), at % shape[1]!];
    return row < rows && column < columns ? tensor.data[row * columns + column]! : 0;
  });
  return { ...tensor, shape, data };
}

test("a pool with fewer experts than the router takes gives all it has", async () => {
  await using model = await loadModel(golden("t5/model"));
  const two = new RoutedPool(experts.slice(0, 2), model.base.modules, { router: uniform() });
  expect(await computed(model, two.with(experts[2]!))).toEqual(
    await computed(model, new RoutedPool(experts.slice(0, 3), model.base.modules, { router: uniform() })),
  );
});

test("experts that are there already, are not there, or are the last are refused by name", async () => {
  await using model = await loadModel(golden("t5/model"));
  const pool = pooled(model, experts.slice(0, 2));
  expect(() => pool.with(experts[1]!)).toThrow(/already has an expert "e1"/);
  expect(() => pool.without("law")).toThrow(/no expert "law"/);
  expect(() => pool.without("e0").without("e1")).toThrow(/the pool's only expert/);
});
