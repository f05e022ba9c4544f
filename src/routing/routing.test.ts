import { expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import type { Expert } from "../adapters/expert.ts";
import { loraProduct } from "../adapters/merge.ts";
import { seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { flattened } from "../graph/sizes.ts";
import type { Batch } from "../inference/batch.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { eachRow, namedExperts, openRows } from "../inference/row-choices.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { arrow } from "../methods/arrow.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { openMethod, parsedMethod, routerNamed, routerOfMethod } from "../methods/registry.ts";
import { retrievalRows } from "../methods/retrieval.ts";
import { smear } from "../methods/smear.ts";
import { spectr } from "../methods/spectr.ts";
import { uniform } from "../methods/uniform.ts";
import { Session } from "../runtime/session.ts";
import { normalized } from "./comparison.ts";
import { t5Experts } from "./experts.test-helper.ts";
import { BARRED, type Router } from "./router.ts";
import { loraOf } from "./stack.ts";

async function t5Batch(): Promise<Batch> {
  const { int } = await goldenTensors("t5/golden.safetensors");
  return { inputIds: int("input_ids"), attentionMask: int("attention_mask"), decoderInputIds: int("decoder_input_ids") };
}

async function logits(model: LoadedModel, batch: Batch): Promise<HostTensor<"float32">> {
  return (await model.forward(batch)).logits;
}

/** A router's scores of tokens [tokens, in] from stacked prototypes: [tokens][experts] */
async function scoresOf(router: Router, tokens: HostTensor<"float32">, prototypes: readonly HostTensor<"float32">[]): Promise<number[][]> {
  const [count = 0, width = 0] = tokens.shape;
  const rows = prototypes[0]!.shape[0]!;
  const graph = createGraph("scores");
  graph.output("experts", graph.float("experts", "experts")); // names the size
  const rowsOfAll = graph.float("prototypes", flattened(["experts", rows]), width);
  graph.output("scores", router.scores(graph.float("x", 1, count, width), rowsOfAll, rows));
  await using session = await Session.load(graph);
  const stacked = float32([prototypes.length * rows, width], Float32Array.from(prototypes.flatMap(({ data }) => [...data])));
  const experts = float32([prototypes.length]);
  const { scores } = await session.run({ x: { ...tokens, shape: [1, count, width] }, prototypes: stacked, experts });
  const data = [...(scores!.data as Float32Array)];
  return Array.from({ length: count }, (_, i) => data.slice(i * prototypes.length, (i + 1) * prototypes.length));
}

function normal(seed: number, ...shape: number[]): HostTensor<"float32"> {
  const random = seededRandom(seed);
  const count = shape.reduce((product, n) => product * n, 1);
  return float32(
    shape,
    Float32Array.from({ length: count }, () => random.normal()),
  );
}

test("a pool of one expert is that expert", async () => {
  await using model = await loadModel(golden("t5/model"));
  const [expert] = await t5Experts(model.base.modules);
  const batch = await t5Batch();
  const alone = await logits(model.withWoven(singleAdapter(expert!.adapter, model.base.modules)), batch);
  for (const router of [phatgoose(), uniform(), smear()]) {
    const pool = new RoutedPool([expert!], model.base.modules, { router });
    expectClose(await logits(model.withWoven(pool), batch), alone, 5e-5);
  }
});

test("a score is sqrt(n) times Pearson's correlation, and an untrained gate scores exactly 0", async () => {
  const [n, tokens] = [64, 5];
  const x = normal(1, tokens, n);
  const gates = [normal(2, n), float32([n]), normal(3, n)];
  const scores = await scoresOf(
    phatgoose(),
    x,
    gates.map((gate) => normalized(gate, "layer")),
  );
  for (let token = 0; token < tokens; token++) {
    const u = x.data.subarray(token * n, (token + 1) * n);
    expect(scores[token]![1]).toBe(0);
    for (const z of [0, 2]) expect(scores[token]![z]).toBeCloseTo(Math.sqrt(n) * pearson(u, gates[z]!.data), 3);
  }
});

test("a gate that hardly moved scores less, by the epsilon inside the layer norm", async () => {
  const gate = normal(4, 2048);
  const [strong, weak] = [0.05, 0.0015].map((scale) =>
    normalized(
      float32(
        [2048],
        gate.data.map((value) => value * scale),
      ),
      "layer",
    ),
  );
  const [[first = 0, second = 0] = []] = await scoresOf(phatgoose(), normal(5, 1, 2048), [strong!, weak!]);
  const shrunk = (scale: number) => scale / Math.sqrt(scale * scale + 1e-5);
  expect(second / first).toBeCloseTo(shrunk(0.0015) / shrunk(0.05), 2);
});

function pearson(a: Float32Array, b: Float32Array): number {
  const centerd = (v: Float32Array) => [...v].map((value) => value - v.reduce((sum, x) => sum + x, 0) / v.length);
  const [p, q] = [centerd(a), centerd(b)];
  const dot = (s: number[], t: number[]) => s.reduce((sum, value, i) => sum + value * t[i]!, 0);
  return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q));
}

test("Arrow scores by the largest singular value's direction, SpectR by the length of the update", async () => {
  await using model = await loadModel(golden("t5/model"));
  const [expert] = await t5Experts(model.base.modules);
  const module = "encoder.block.0.layer.0.SelfAttention.q";
  const lora = loraOf(expert!).get(module)!;
  const [out, width] = [lora.b.shape[0]!, lora.a.shape[1]!];
  const dense = loraProduct(lora);
  const lengthOf = (u: Float32Array) =>
    Math.hypot(...Array.from({ length: out }, (_, o) => u.reduce((sum, value, i) => sum + dense[o * width + i]! * value, 0)));
  const x = normal(6, 4, width);
  const tokens = [0, 1, 2, 3].map((token) => x.data.subarray(token * width, (token + 1) * width));

  const direction = arrow().prototype(expert!, module)!;
  // No unit vector is stretched more: power iteration on the dense product gives the maximum.
  expect(lengthOf(direction.data)).toBeCloseTo(largestSingularValue(dense, out, width), 5);
  const turned = float32(
    direction.shape,
    direction.data.map((value) => -value),
  );
  for (const [one, other] of await scoresOf(arrow(), x, [direction, turned])) expect(one).toBe(other);

  const lengths = await scoresOf(spectr(), x, [spectr().prototype(expert!, module)!]);
  tokens.forEach((u, token) => {
    expect(lengths[token]![0]).toBeCloseTo(lengthOf(u), 5);
  });
});

function largestSingularValue(dense: Float64Array, out: number, width: number): number {
  let v = Array.from({ length: width }, (_, i) => Math.cos(i));
  let norm = 0;
  for (let pass = 0; pass < 2000; pass++) {
    const y = Array.from({ length: out }, (_, o) => v.reduce((sum, value, i) => sum + dense[o * width + i]! * value, 0));
    const back = v.map((_, i) => y.reduce((sum, value, o) => sum + dense[o * width + i]! * value, 0));
    norm = Math.hypot(...back);
    v = back.map((value) => value / norm);
  }
  return Math.sqrt(norm);
}

test("rows of one batch use different methods: an expert of their own, or PHATGOOSE", async () => {
  await using model = await loadModel(golden("t5/model"));
  const experts = await t5Experts(model.base.modules);
  const batch = await t5Batch();
  const pool = model.withWoven(new RoutedPool(experts, model.base.modules, { router: phatgoose(), rows: openRows }));
  const open = await logits(pool, batch);
  const bias = float32([4, 7]);
  for (const [row, only] of [
    [0, 2],
    [1, 5],
  ] as const)
    for (let z = 0; z < 7; z++) bias.data[row * 7 + z] = z === only ? 0 : BARRED;
  bias.data.fill(BARRED, 3 * 7); // the last row may use nobody
  const mixed = await logits(pool, { ...batch, routingBias: bias });
  const singly = (woven: Woven) => logits(model.withWoven(woven), batch);
  const expected = [
    await singly(singleAdapter(experts[2]!.adapter, model.base.modules)),
    await singly(singleAdapter(experts[5]!.adapter, model.base.modules)),
    open,
    await singly(plain),
  ];
  const size = mixed.data.length / 4;
  const rowOf = ({ data }: HostTensor<"float32">, row: number) => float32([size], data.slice(row * size, (row + 1) * size));
  expected.forEach((result, row) => {
    expectClose(rowOf(mixed, row), rowOf(result, row), 5e-5);
  });
  await expect(model.forward({ ...batch, routingBias: bias })).rejects.toThrow(/the pool has no choices by row/);
});

test("rows of one batch mix a text's retrieval, named experts and the router", async () => {
  await using model = await loadModel(golden("t5/model"));
  const experts = (await t5Experts(model.base.modules)).slice(0, 4);
  const batch = await t5Batch();
  // Retrieval finds expert 3 for every text: its example has the direction of every text.
  const toy = { name: "toy", embed: async () => float32([4, 2], [1, 0, 1, 0, 1, 0, 1, 0]) };
  const known = experts.map((expert, z) => ({
    ...expert,
    embeddings: { embedder: "toy", vectors: float32([1, 2], z === 3 ? [1, 0] : [0, 1]) },
  }));
  const rows = eachRow([retrievalRows(toy), openRows, namedExperts(["e1"]), namedExperts(["e0", "e2"])]);
  const pool = model.withWoven(new RoutedPool(known, model.base.modules, { router: phatgoose(), rows }));
  const { logits: mixed, routes } = await pool.forward(batch, { routes: true });
  const singly = (woven: Woven) => logits(model.withWoven(woven), batch);
  const pair = [known[0]!, known[2]!];
  const expected = [
    await singly(singleAdapter(known[3]!.adapter, model.base.modules)),
    await singly(new RoutedPool(known, model.base.modules, { router: phatgoose() })),
    await singly(singleAdapter(known[1]!.adapter, model.base.modules)),
    await singly(new RoutedPool(pair, model.base.modules, { router: phatgoose() })),
  ];
  const size = mixed.data.length / 4;
  const rowOf = ({ data }: HostTensor<"float32">, row: number) => float32([size], data.slice(row * size, (row + 1) * size));
  expected.forEach((result, row) => {
    expectClose(rowOf(mixed, row), rowOf(result, row), 5e-5);
  });
  const { experts: chosen } = routes!.get("decoder.block.0.layer.0.SelfAttention.q")!;
  const perRow = chosen.data.length / 4;
  expect(chosen.data[0]).toBe(3n);
  expect(new Set(chosen.data.slice(3 * perRow))).toEqual(new Set([0n, 2n]));
  await expect(namedExperts(["e9"])({ inputIds: batch.inputIds, attentionMask: batch.attentionMask! }, known, openRows)).rejects.toThrow(
    /no expert "e9"/,
  );
});

test("an expert joins an open pool without a new session", async () => {
  await using model = await loadModel(golden("t5/model"));
  const experts = await t5Experts(model.base.modules);
  const batch = await t5Batch();
  const pool = new RoutedPool(experts.slice(0, 6), model.base.modules, { router: phatgoose() });
  const before = await logits(model.withWoven(pool), batch);
  const after = await logits(model.withWoven(pool.with(experts[6]!)), batch);
  expect(model.runner.counts.built).toBe(1);
  expect(after).not.toEqual(before);
  expect(await logits(model.withWoven(pool), batch)).toEqual(before);
  const anew = new RoutedPool(experts, model.base.modules, { router: phatgoose() });
  expect(await logits(model.withWoven(anew), batch)).toEqual(after);
});

test.each(["a gate", "a module"])("the first expert to join without %s is no candidate there", async (lacking) => {
  await using model = await loadModel(golden("t5/model"));
  const experts = await t5Experts(model.base.modules);
  const batch = await t5Batch();
  const module = "decoder.block.1.layer.1.EncDecAttention.k";
  const without = <T>(map: ReadonlyMap<string, T>) => new Map([...map].filter(([name]) => name !== module));
  const last = experts[6]!;
  const partial: Expert =
    lacking === "a gate"
      ? { ...last, gates: without(last.gates!) }
      : { ...last, adapter: { kind: "lora", modules: without(loraOf(last)), warnings: [] } };
  const pool = new RoutedPool(experts.slice(0, 6), model.base.modules, { router: phatgoose() });
  const { routes, logits: grown } = await model.withWoven(pool.with(partial)).forward(batch, { routes: true });
  expect([...routes!.get(module)!.experts.data]).not.toContain(6n);
  expect([...routes!.values()].some(({ experts: chosen }) => [...chosen.data].includes(6n))).toBe(true);
  const anew = new RoutedPool([...experts.slice(0, 6), partial], model.base.modules, { router: phatgoose() });
  expect(await logits(model.withWoven(anew), batch)).toEqual(grown);
});

test("a pool of two kinds is refused by name", async () => {
  await using model = await loadModel(golden("t5/model"));
  const [lora] = await t5Experts(model.base.modules);
  const scale = float32([64], new Float32Array(64).fill(1));
  const adapter: Expert["adapter"] = {
    kind: "ia3",
    modules: new Map([["decoder.block.0.layer.2.DenseReluDense.wi_0", { scale, feedforward: true }]]),
    warnings: [],
  };
  const other: Expert = { name: "scaler", adapter, warnings: [] };
  expect(() => new RoutedPool([lora!, other], model.base.modules, { router: uniform() })).toThrow(
    /"e0" is of kind lora, expert "scaler" of kind ia3/,
  );
});

test("general experts are known by name, leave some to choose, and share a rank with them", async () => {
  await using model = await loadModel(golden("t5/model"));
  const experts = (await t5Experts(model.base.modules)).slice(0, 3);
  const open = (general: string, pool: readonly Expert[] = experts) =>
    openMethod({ ...model, experts: pool }, parsedMethod(`arrow-peft:general=${general}`));
  expect((await open("e1")).experts).toEqual(["e0", "e2"]);
  await expect(open("e1+law")).rejects.toThrow(/no general expert "law"/);
  await expect(open("e0+e1+e2")).rejects.toThrow(/Every expert of the pool is a general one/);
  const [module, lora] = [...loraOf(experts[2]!)][0]!;
  const narrow = { ...lora, rank: 1, a: float32([1, lora.a.shape[1]!]), b: float32([lora.b.shape[0]!, 1]) };
  const odd: Expert = { ...experts[2]!, name: "odd", adapter: { kind: "lora", modules: new Map([[module, narrow]]), warnings: [] } };
  await expect(open("e0", [experts[0]!, odd])).rejects.toThrow(/"odd" has rank 1, a general expert rank 4/);
  expect(() => routerNamed("arrow-peft:general=e1")).toThrow(/General experts change the others/);
});

test("an expert that joins a pool with general experts is without their knowledge too", async () => {
  await using model = await loadModel(golden("t5/model"));
  const experts = await t5Experts(model.base.modules);
  const batch = await t5Batch();
  const open = (pool: readonly Expert[]) => openMethod({ ...model, experts: pool }, parsedMethod("arrow-peft:general=e0+e1"));
  const whole = await logits(model.withWoven(await open(experts)), batch);
  const grown = await open(experts.slice(0, -1));
  if (!(grown instanceof RoutedPool)) throw new Error("not a pool that takes experts");
  expect(await logits(model.withWoven(grown.with(experts.at(-1)!)), batch)).toEqual(whole);
});

test("options that a router does not have are refused by name", () => {
  expect(() => parsedMethod("smear", { topK: 2 })).toThrow(/topK/);
  expect(() => parsedMethod("nearest")).toThrow(/no router "nearest"/);
  expect(routerOfMethod(parsedMethod("single:expert=a")).topK).toBe(1);
});
