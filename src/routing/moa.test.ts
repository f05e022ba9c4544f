import { expect, test } from "vitest";
import { expectClose } from "../../tests/golden.ts";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { seededRandom } from "../base/random.ts";
import { float32, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { softmax } from "../graph/ops/reduce.ts";
import { Session } from "../runtime/session.ts";
import { domainDelta, mixtureDelta, oneHot, pooled, routerOf, stackedLoras, stackInputs, unstackedLoras } from "./moa.ts";

const SIZES = new Map([["layer.q", { in: 6, out: 4 }]]);
const random = seededRandom(5);
const noise = (...shape: number[]) =>
  float32(
    shape,
    new Float32Array(shape.reduce((a, b) => a * b)).map(() => random.normal()),
  );

/** Domains of rank 2 and 3, and one that does not adapt the module. */
const adapters: LoraAdapter[] = [2, 3].map((rank) => ({
  kind: "lora",
  modules: new Map([["layer.q", { rank, scaling: 4 / rank, a: noise(rank, 6), b: noise(4, rank) }]]),
  warnings: [],
}));
adapters.push({ kind: "lora", modules: new Map(), warnings: [] });
const stack = stackedLoras(adapters, SIZES);
const shape = stack.shapes.get("layer.q")!;
const x = noise(3, 5, 6);

/** scaling B A x of one domain, by hand. */
function byHand(domain: number, input: ArrayLike<number>): number[] {
  const lora = adapters[domain]!.modules.get("layer.q");
  if (!lora) return [0, 0, 0, 0];
  const inner = Array.from({ length: lora.rank }, (_, r) => Array.from(input).reduce((sum, v, i) => sum + v * lora.a.data[r * 6 + i]!, 0));
  return [0, 1, 2, 3].map((o) => lora.scaling * inner.reduce((sum, v, r) => sum + v * lora.b.data[o * lora.rank + r]!, 0));
}
const token = (row: number, t: number) => x.data.subarray((row * 5 + t) * 6, (row * 5 + t + 1) * 6);

test("each row is served by its own domain's LoRA, whatever the ranks", async () => {
  const graph = createGraph("delta");
  const choice = oneHot(graph.int("domains", "batch"), 3);
  graph.output("y", domainDelta(graph.float("x", "batch", "sequence", 6), choice, stackInputs(graph, "layer.q", shape), shape));
  await using session = await Session.load(graph);
  const { y } = await session.run({ x, domains: int64([3], [1, 2, 0]), ...Object.fromEntries(stack.tensors) });
  const expected = [1, 2, 0].flatMap((domain, row) => [0, 1, 2, 3, 4].flatMap((t) => byHand(domain, token(row, t))));
  expectClose(y!, float32([3, 5, 4], expected), 1e-5);
});

test.each([1, 5])("a mixture is the weighted sum of all domains' outputs (weights for %i tokens of a row)", async (tokens) => {
  const graph = createGraph("mixture");
  const scores = noise(3, tokens, 3);
  const weights = softmax(graph.float("scores", "batch", tokens === 1 ? 1 : "sequence", 3));
  graph.output("weights", weights);
  graph.output("y", mixtureDelta(graph.float("x", "batch", "sequence", 6), weights, stackInputs(graph, "layer.q", shape), shape));
  await using session = await Session.load(graph);
  const { y, weights: w } = await session.run({ x, scores, ...Object.fromEntries(stack.tensors) });
  const expected = [0, 1, 2].flatMap((row) =>
    [0, 1, 2, 3, 4].flatMap((t) => {
      const parts = [0, 1, 2].map((domain) => byHand(domain, token(row, t)));
      const at = (row * tokens + (tokens === 1 ? 0 : t)) * 3;
      return [0, 1, 2, 3].map((o) => parts.reduce((sum, part, d) => sum + Number(w!.data[at + d]) * part[o]!, 0));
    }),
  );
  expectClose(y!, float32([3, 5, 4], expected), 1e-5);
});

test("LoRAs come out of a stack as they went in", () => {
  expect(unstackedLoras(adapters, stack.tensors)).toEqual(adapters);
});

test.each(["mean", "last"] as const)("pooling by %s reads the prompt's tokens alone", async (pooling) => {
  const graph = createGraph("pooling");
  graph.output("h", pooled(graph.float("x", "batch", "sequence", 2), graph.float("prompt", "batch", "sequence"), pooling));
  await using session = await Session.load(graph);
  const states = float32([2, 4, 2], [9, 9, 1, 2, 3, 6, 9, 9, 5, 0, 7, 4, 8, 8, 9, 9]);
  const prompt = float32([2, 4], [0, 1, 1, 0, 1, 1, 0, 0]); // padding on the left of the first row, an answer after both
  const { h } = await session.run({ x: states, prompt });
  expectClose(h!, float32([2, 2], pooling === "mean" ? [2, 4, 6, 2] : [3, 6, 7, 4]), 1e-6);
});

test("a module follows the router of its own layer, and what lies outside the layers the last one", () => {
  const layers = ["model.layers.1", "model.layers.10"];
  expect(["model.layers.1.mlp.up", "model.layers.10.mlp.up", "lm_head"].map((module) => routerOf(module, layers))).toEqual([0, 1, 1]);
});
