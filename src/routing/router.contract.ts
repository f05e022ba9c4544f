/** @file The contract of routing methods; contract.test.ts runs it for each of them. A method that cannot satisfy a clause lists the
 *  clause's name with the reason. An exemption that is not needed fails too.
 *
 *  The model under test is two chained projections, up [16 -> 24] and down [24 -> 16], with the method's real update. Nothing is mocked. */

import { describe, expect, test } from "vitest";
import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { tanh } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { HostRoute } from "../inference/runner.ts";
import { singleAdapter, type Woven } from "../inference/woven.ts";
import type { Linear } from "../models/linear.ts";
import { outline } from "../models/logits.ts";
import { Session } from "../runtime/session.ts";

export const CLAUSES = [
  "weights sum to 1 and none is negative",
  "permuting the experts permutes the routes and nothing else",
  "copies of one expert equal that expert",
  "padding changes nothing",
  "the order of rows changes nothing",
  "top-1 gives each token one expert with weight 1",
  "ties go to the lower index",
  "an expert that lacks a module is no candidate there",
  "more experts a token than candidates is no error",
  "an expert joins an open pool without a new graph",
] as const;
export type Clause = (typeof CLAUSES)[number];

export interface Subject {
  readonly name: string;
  readonly open: (experts: readonly Expert[], options: { readonly topK?: number }) => Woven | Promise<Woven>;
  /** Clauses that the method cannot satisfy. */
  readonly exempt?: Partial<Readonly<Record<Clause, Exemption>>>;
}

/** How a method fails a clause. */
export interface Exemption {
  readonly why: string;
  /** The class of the error that the clause ends with, and what its message says. */
  readonly error: string;
  readonly message: RegExp;
}

export const SIZES = new Map([
  ["up", { in: 16, out: 24 }],
  ["down", { in: 24, out: 16 }],
]);
/** Width of the experts' example embeddings. */
export const EMBEDDING = { embedder: "contract", size: 6 };

function numbers(random: Random, ...shape: number[]): HostTensor<"float32"> {
  const count = shape.reduce((product, n) => product * n, 1);
  return float32(
    shape,
    Float32Array.from({ length: count }, () => random.normal()),
  );
}

/** An expert with the data of all routers. */
function expert(index: number, { rank = 2, modules = [...SIZES.keys()] } = {}): Expert {
  const random = seededRandom(100 + index);
  const lora = new Map<string, LoraWeights>();
  const gates = new Map<string, HostTensor<"float32">>();
  for (const module of modules) {
    const size = SIZES.get(module)!;
    lora.set(module, { rank, scaling: 0.5, a: numbers(random, rank, size.in), b: numbers(random, size.out, rank) });
    gates.set(module, numbers(random, size.in));
  }
  // The examples are near the direction of the expert's number, so every number has its expert.
  const vectors = numbers(random, 3, EMBEDDING.size);
  vectors.data.forEach((value, i) => {
    vectors.data[i] = 0.1 * value + (i % EMBEDDING.size === index ? 1 : 0);
  });
  const embeddings = { embedder: EMBEDDING.embedder, vectors };
  return { name: `e${index}`, adapter: { kind: "lora", modules: lora, warnings: [] }, gates, activations: gates, embeddings, warnings: [] };
}

/** Four experts of different ranks, one of which covers only `up`. */
const EXPERTS = [expert(0), expert(1, { rank: 3 }), expert(2, { rank: 1, modules: ["up"] }), expert(3)];

const renamed = (original: Expert, index: number): Expert => ({ ...original, name: `e${index}` });

/** The same expert with B negated: the scores are equal in every router, the output differs. */
function mirrored(original: Expert): Expert {
  if (original.adapter.kind !== "lora") throw new Error("not a LoRA");
  const modules = [...original.adapter.modules].map(([module, lora]): [string, LoraWeights] => [
    module,
    {
      ...lora,
      b: float32(
        lora.b.shape,
        lora.b.data.map((value) => -value),
      ),
    },
  ]);
  return { ...original, adapter: { ...original.adapter, modules: new Map(modules) } };
}

interface Rows {
  /** [batch, sequence, 16] */
  readonly x: HostTensor<"float32">;
  readonly mask: HostTensor<"int64">;
}
const [BATCH, LENGTH, WIDTH] = [3, 5, 16];
const REAL = [5, 3, 4];
const ROWS: Rows = {
  x: numbers(seededRandom(1), BATCH, LENGTH, WIDTH),
  mask: int64(
    [BATCH, LENGTH],
    REAL.flatMap((real) => Array.from({ length: LENGTH }, (_, i) => (i < real ? 1 : 0))),
  ),
};

/** Rows in another order, each cut to `length`. */
function rowsOf(order: readonly number[], length = LENGTH): Rows {
  const cut = <T extends Float32Array | BigInt64Array>(data: T, width: number): T[] =>
    order.map((row) => data.slice(row * LENGTH * width, (row * LENGTH + length) * width) as T);
  return {
    x: float32([order.length, length, WIDTH], Float32Array.from(cut(ROWS.x.data, WIDTH).flatMap((part) => [...part]))),
    mask: int64([order.length, length], BigInt64Array.from(cut(ROWS.mask.data, 1).flatMap((part) => [...part]))),
  };
}

interface Result {
  readonly y: HostTensor<"float32">;
  readonly routes: ReadonlyMap<string, HostRoute>;
}

/** tanh(down(tanh(up(x)))) with the method's update, and its routes. */
async function computed(woven: Woven, { x, mask }: Rows): Promise<Result> {
  const graph = createGraph("contract");
  const inner: Linear = (value, module, { in: inputs, out }) => matmul(value, graph.float(`W.${module}`, out, inputs), { transB: true });
  const modules: string[] = [];
  const { linear } = woven.weave(graph, { ...outline(graph), linear: inner }, (module, { experts, weights }) => {
    modules.push(module);
    graph.output(`${module}.experts`, experts);
    graph.output(`${module}.weights`, weights);
  });
  const project = (value: Parameters<Linear>[0], module: string) => tanh(linear(value, module, SIZES.get(module)!));
  graph.output("y", project(project(graph.float("x", "batch", "sequence", WIDTH), "up"), "down"));
  await using session = await Session.load(graph);
  const random = seededRandom(7);
  const base = Object.fromEntries([...SIZES].map(([module, size]) => [`W.${module}`, numbers(random, size.out, size.in)]));
  // A prompt's only token id is the first number of its row, which reordering and cutting do not change.
  const ids = int64(
    mask.shape,
    BigInt64Array.from(mask.data, (_, i) =>
      BigInt(Math.round(1000 * Math.abs(x.data[Math.floor(i / mask.shape[1]!) * mask.shape[1]! * WIDTH]!))),
    ),
  );
  const rows = await woven.chooseRows?.({ inputIds: ids, attentionMask: mask });
  const results = await session.run({ ...woven.feeds, ...base, ...rows, x });
  const read = <T>(name: string) => results[name] as T;
  return {
    y: read("y"),
    routes: new Map(modules.map((module) => [module, { experts: read(`${module}.experts`), weights: read(`${module}.weights`) }])),
  };
}

/** Largest difference over the real tokens of both. */
function expectSame(actual: Result, expected: Result, tolerance = 2e-5): void {
  expect(actual.y.shape).toEqual(expected.y.shape);
  actual.y.data.forEach((value, i) => {
    expect(Math.abs(value - expected.y.data[i]!)).toBeLessThan(tolerance);
  });
}

/** For each token the weight of each expert, by name. */
function weightsByName({ experts, weights }: HostRoute, names: readonly string[]): Map<string, number>[] {
  const k = experts.shape[2]!;
  return Array.from({ length: experts.data.length / k }, (_, token) => {
    const pairs = Array.from({ length: k }, (_, j) => [names[Number(experts.data[token * k + j])]!, weights.data[token * k + j]!] as const);
    return new Map(pairs.filter(([, weight]) => weight > 0));
  });
}

type Check = (subject: Subject) => Promise<void>;

async function weightsSumToOne({ open }: Subject): Promise<void> {
  const { routes } = await computed(await open(EXPERTS, {}), ROWS);
  expect([...routes.keys()]).toEqual(["up", "down"]);
  for (const { weights } of routes.values()) {
    const k = weights.shape[2]!;
    for (let at = 0; at < weights.data.length; at += k) {
      const row = [...weights.data.subarray(at, at + k)];
      expect(Math.min(...row)).toBeGreaterThanOrEqual(0);
      const sum = row.reduce((total, weight) => total + weight, 0);
      expect(Math.abs(sum - 1)).toBeLessThan(1e-5);
    }
  }
}

async function permutes({ open }: Subject): Promise<void> {
  const order = [2, 0, 3, 1];
  const [before, after] = [
    await open(EXPERTS, {}),
    await open(
      order.map((i) => EXPERTS[i]!),
      {},
    ),
  ];
  const [one, other] = [await computed(before, ROWS), await computed(after, ROWS)];
  expectSame(other, one);
  for (const [module, route] of one.routes) {
    const mine = weightsByName(route, before.experts);
    weightsByName(other.routes.get(module)!, after.experts).forEach((weights, token) => {
      expect([...weights.keys()].sort()).toEqual([...mine[token]!.keys()].sort());
      for (const [name, weight] of weights) expect(weight).toBeCloseTo(mine[token]!.get(name)!, 4);
    });
  }
}

async function copiesEqualOne({ open }: Subject): Promise<void> {
  const copies = [0, 1, 2, 3].map((i) => renamed(EXPERTS[0]!, i));
  const alone = singleAdapter(EXPERTS[0]!.adapter, SIZES);
  expectSame(await computed(await open(copies, {}), ROWS), await computed(alone, ROWS));
}

async function paddingChangesNothing({ open }: Subject): Promise<void> {
  const opened = await open(EXPERTS, {});
  const together = await computed(opened, ROWS);
  for (const [row, real] of REAL.entries()) {
    const alone = await computed(opened, rowsOf([row], real));
    const start = row * LENGTH * WIDTH;
    const data = together.y.data.slice(start, start + real * WIDTH);
    expectSame(alone, { ...together, y: float32([1, real, WIDTH], data) });
  }
}

async function orderChangesNothing({ open }: Subject): Promise<void> {
  const opened = await open(EXPERTS, {});
  const [straight, turned] = [await computed(opened, ROWS), await computed(opened, rowsOf([2, 1, 0]))];
  const size = LENGTH * WIDTH;
  const back = [2, 1, 0].flatMap((row) => [...turned.y.data.subarray(row * size, (row + 1) * size)]);
  expectSame({ ...turned, y: float32(straight.y.shape, back) }, straight);
}

async function topOne({ open }: Subject): Promise<void> {
  const { routes } = await computed(await open(EXPERTS, { topK: 1 }), ROWS);
  expect(routes.size).toBe(SIZES.size);
  for (const { weights } of routes.values()) {
    expect(weights.shape).toEqual([BATCH, LENGTH, 1]);
    expect(new Set(weights.data)).toEqual(new Set([1]));
  }
}

/** Three experts with equal scores and different outputs: the first must win, in the route and in the computation. */
async function tiesGoLow({ open }: Subject): Promise<void> {
  const [one, other] = [EXPERTS[0]!, mirrored(EXPERTS[0]!)];
  for (const experts of [
    [one, other, other],
    [other, one, one],
  ].map((list) => list.map(renamed))) {
    const result = await computed(await open(experts, { topK: 1 }), ROWS);
    for (const route of result.routes.values()) expect(new Set(route.experts.data)).toEqual(new Set([0n]));
    expectSame(result, await computed(singleAdapter(experts[0]!.adapter, SIZES), ROWS));
  }
}

async function lackingIsNoCandidate({ open }: Subject): Promise<void> {
  const opened = await open(EXPERTS, { topK: 3 });
  const { routes } = await computed(opened, ROWS);
  for (const weights of weightsByName(routes.get("down")!, opened.experts)) expect(weights.has("e2")).toBe(false);
}

async function moreThanCandidates({ open }: Subject): Promise<void> {
  const { y, routes } = await computed(await open(EXPERTS, { topK: 9 }), ROWS);
  expect([...y.data].every(Number.isFinite)).toBe(true);
  for (const { weights } of routes.values()) expect(weights.shape[2]).toBeLessThanOrEqual(EXPERTS.length);
}

async function joins({ open }: Subject): Promise<void> {
  const opened = await open(EXPERTS.slice(0, 3), {});
  if (!(opened instanceof RoutedPool)) throw new TypeError("not a pool that takes experts");
  const { key } = opened;
  const joined = opened.with(EXPERTS[3]!);
  expect(joined.key).toBe(key);
  expect(joined.experts).toEqual(["e0", "e1", "e2", "e3"]);
  expectSame(await computed(joined, ROWS), await computed(await open(EXPERTS, {}), ROWS), 1e-7);
}

const CHECKS: Readonly<Record<Clause, Check>> = {
  "weights sum to 1 and none is negative": weightsSumToOne,
  "permuting the experts permutes the routes and nothing else": permutes,
  "copies of one expert equal that expert": copiesEqualOne,
  "padding changes nothing": paddingChangesNothing,
  "the order of rows changes nothing": orderChangesNothing,
  "top-1 gives each token one expert with weight 1": topOne,
  "ties go to the lower index": tiesGoLow,
  "an expert that lacks a module is no candidate there": lackingIsNoCandidate,
  "more experts a token than candidates is no error": moreThanCandidates,
  "an expert joins an open pool without a new graph": joins,
};

async function expectFailure(check: Promise<void>, { error, message }: Exemption): Promise<void> {
  const failure = await check.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(failure instanceof Error)) throw new Error("the method meets the clause: take the exemption out");
  expect({ error: failure.constructor.name, message: failure.message }).toEqual({ error, message: expect.stringMatching(message) });
}

/** Runs every clause on a method. */
export function routerContract(subject: Subject): void {
  describe(`router ${subject.name}`, () => {
    for (const clause of CLAUSES) {
      const exemption = subject.exempt?.[clause];
      if (exemption === undefined) test(clause, () => CHECKS[clause](subject));
      else test(`cannot meet "${clause}": ${exemption.why}`, () => expectFailure(CHECKS[clause](subject), exemption));
    }
  });
}
