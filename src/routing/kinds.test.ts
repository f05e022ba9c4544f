import { expect, test } from "vitest";
import { BOTTLENECK_ACTIVATIONS, type BottleneckWeights, type Ia3Weights, type LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { smear } from "../methods/smear.ts";
import { outline } from "../models/logits.ts";
import { Session } from "../runtime/session.ts";
import type { Router } from "./router.ts";

const [IN, OUT, TOKENS] = [6, 10, 4];
const SIZES = new Map([["m", { in: IN, out: OUT }]]);
const random = seededRandom(11);
function numbers(...shape: number[]): HostTensor<"float32"> {
  const count = shape.reduce((product, n) => product * n, 1);
  return float32(
    shape,
    Float32Array.from({ length: count }, () => random.normal()),
  );
}
const W = numbers(OUT, IN);
const X = numbers(1, TOKENS, IN);

type Row = readonly number[];
const product = ({ shape: [rows = 0, columns = 0], data }: HostTensor<"float32">, v: Row): number[] =>
  Array.from({ length: rows }, (_, i) => v.reduce((sum, value, j) => sum + data[i * columns + j]! * value, 0));
const plus = (a: Row, b: Row, factor = 1): number[] => a.map((value, i) => value + factor * b[i]!);
const list = ({ data }: HostTensor<"float32">): number[] => [...data];

/** The pool's output for each token, with the weights of its route. */
async function run(experts: readonly Expert[], router: Router): Promise<{ y: Row[]; weights: Row[] }> {
  const pool = new RoutedPool(experts, SIZES, { router });
  const graph = createGraph("kinds");
  const { linear } = pool.weave(
    graph,
    { ...outline(graph), linear: (x) => matmul(x, graph.float("W", OUT, IN), { transB: true }) },
    (_, route) => {
      graph.output("experts", route.experts);
      graph.output("weights", route.weights);
    },
  );
  graph.output("y", linear(graph.float("x", "batch", "sequence", IN), "m", SIZES.get("m")!));
  await using session = await Session.load(graph);
  const { y, experts: chosen, weights } = await session.run({ ...pool.feeds, W, x: X });
  const k = weights!.shape[2]!;
  const rows = Array.from({ length: TOKENS }, (_, token) => {
    const row = experts.map(() => 0);
    for (let j = 0; j < k; j++) row[Number(chosen!.data[token * k + j])]! += Number(weights!.data[token * k + j]);
    return row;
  });
  const outputs = Array.from({ length: TOKENS }, (_, token) => [...(y!.data as Float32Array).subarray(token * OUT, (token + 1) * OUT)]);
  return { y: outputs, weights: rows };
}

/** Checks every token's output against `expected`, computed from its input and its experts' weights. */
async function expectMixture(experts: readonly Expert[], router: Router, expected: (x: Row, weights: Row) => Row): Promise<void> {
  const { y, weights } = await run(experts, router);
  y.forEach((row, token) => {
    const wanted = expected([...X.data.subarray(token * IN, (token + 1) * IN)], weights[token]!);
    row.forEach((value, i) => {
      expect(Math.abs(value - wanted[i]!)).toBeLessThan(2e-5);
    });
  });
}

function expertsOf<Kind extends "lora" | "ia3" | "bottleneck", Weights>(kind: Kind, weights: readonly Weights[]): Expert[] {
  return weights.map((own, i) => {
    const adapter = { kind, modules: new Map([["m", own]]), warnings: [] } as unknown as Expert["adapter"]; // the kind's own weights
    return { name: `e${i}`, adapter, gates: new Map([["m", numbers(IN)]]), warnings: [] };
  });
}

const ROUTERS = [phatgoose(), smear()];

test.each(ROUTERS)("(IA)3 experts mix as factors around 1 ($name)", async (router) => {
  const weights = [false, true, false].map((feedforward): Ia3Weights => ({ scale: numbers(feedforward ? IN : OUT), feedforward }));
  await expectMixture(expertsOf("ia3", weights), router, (x, w) => {
    const factor = (width: number, feedforward: boolean) =>
      weights.reduce(
        (sum, own, z) => (own.feedforward === feedforward ? plus(sum, plus(list(own.scale), Array<number>(width).fill(1), -1), w[z]) : sum),
        Array<number>(width).fill(1),
      );
    const input = factor(IN, true);
    const y = product(
      W,
      x.map((value, i) => value * input[i]!),
    );
    const output = factor(OUT, false);
    return y.map((value, i) => value * output[i]!);
  });
});

test.each(ROUTERS)("LoRA biases are mixed too ($name)", async (router) => {
  const weights = [1, 2].map(
    (rank): LoraWeights => ({ rank, scaling: 1.5, a: numbers(rank, IN), b: numbers(OUT, rank), ...(rank === 2 && { bias: numbers(OUT) }) }),
  );
  await expectMixture(expertsOf("lora", weights), router, (x, w) => {
    const bias = plus(product(W, x), list(weights[1]!.bias!), 1.5 * w[1]!);
    if (router.mixes === "outputs") return weights.reduce((sum, { a, b }, z) => plus(sum, product(b, product(a, x)), 1.5 * w[z]!), bias);
    const low = weights.reduce((sum, { a }, z) => plus(sum, [...product(a, x), 0].slice(0, 2), w[z]), [0, 0]);
    return weights.reduce((sum, { b, rank }, z) => plus(sum, product(b, low.slice(0, rank)), 1.5 * w[z]!), bias);
  });
});

const FUNCTIONS = {
  relu: (x: number) => Math.max(0, x),
  silu: (x: number) => x / (1 + Math.exp(-x)),
  gelu_new: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};
const FORMS = BOTTLENECK_ACTIVATIONS.flatMap((activation) =>
  (["parallel", "output"] as const).flatMap((placement) => ROUTERS.map((router) => ({ activation, placement, router }))),
);
test.each(FORMS)("bottleneck experts mix: $activation, $placement, $router.name", async ({ activation, placement, router }) => {
  const width = placement === "parallel" ? IN : OUT;
  const weights = [3, 2, 3].map(
    (size): BottleneckWeights => ({
      activation,
      placement,
      down: numbers(size, width),
      downBias: numbers(size),
      up: numbers(OUT, size),
      upBias: numbers(OUT),
    }),
  );
  const f = FUNCTIONS[activation];
  await expectMixture(expertsOf("bottleneck", weights), router, (x, w) => {
    const h = product(W, x);
    const read = placement === "parallel" ? x : h;
    const padded = (row: Row) => [...row, 0].slice(0, 3);
    if (router.mixes === "outputs") {
      return weights.reduce((sum, own, z) => {
        const hidden = plus(product(own.down, read), list(own.downBias)).map(f);
        return plus(sum, plus(product(own.up, hidden), list(own.upBias)), w[z]);
      }, h);
    }
    const hidden = weights
      .reduce((sum, own, z) => plus(sum, padded(plus(product(own.down, read), list(own.downBias))), w[z]), [0, 0, 0])
      .map(f);
    return weights.reduce(
      (sum, own, z) => plus(sum, plus(product(own.up, hidden.slice(0, own.downBias.data.length)), list(own.upBias)), w[z]),
      h,
    );
  });
});

test("bottlenecks of two forms are refused by name", () => {
  const weights = ["relu", "silu"].map((activation) => ({
    activation,
    placement: "parallel",
    down: numbers(2, IN),
    downBias: numbers(2),
    up: numbers(OUT, 2),
    upBias: numbers(OUT),
  }));
  const experts = expertsOf("bottleneck", weights);
  expect(() => new RoutedPool(experts, SIZES, { router: phatgoose() })).toThrow(/"e0" \(relu parallel\) and "e1" \(silu parallel\)/);
});
