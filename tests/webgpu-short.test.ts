/** @file The short part of WebGPU's tests: some operators, a routed generation and some training steps give the CPU's numbers, and nothing stays
 *  behind on the device. Run by npm run check, on a GPU or on SwiftShader. */

import { expect, test } from "vitest";
import { seededRandom } from "../src/base/random.ts";
import { float32, type HostTensor, int64 } from "../src/base/tensor.ts";
import { generateBatch } from "../src/generation/generate.ts";
import { randomPool } from "../src/generation/woven.test-helper.ts";
import { createGraph } from "../src/graph/graph.ts";
import { exp, mul } from "../src/graph/ops/elementwise.ts";
import { matmul } from "../src/graph/ops/linalg.ts";
import { expand, gather, transpose } from "../src/graph/ops/movement.ts";
import { layerNorm, reduceSum, softmax, topK } from "../src/graph/ops/reduce.ts";
import { loadModel } from "../src/library/model.ts";
import type { Engine } from "../src/runtime/engine.ts";
import { cpu, webgpu } from "../src/runtime/onnxruntime-node.ts";
import { adapterLearner, freshLora } from "../src/training/learner.ts";
import { Trainer } from "../src/training/trainer.ts";
import { webgpuMissing } from "./engines.ts";
import { expectClose, golden } from "./golden.ts";

const skipped = webgpuMissing ?? (process.env.SKEIN_DEVICE === "webgpu" ? undefined : "run by scripts/check-webgpu.mjs");
const here = (name: string) => (skipped ? `${name} (skipped: ${skipped})` : name);
/** float32 sums in another order, and a GPU's exponentials, over a few layers. */
const NOISE = 5e-4;

/** Waits for what is disposed of as soon as it is made. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

test.skipIf(skipped)(here("operators"), async () => {
  const random = seededRandom(1);
  const numbers = (...shape: number[]) => {
    const tensor = float32(shape);
    return float32(
      shape,
      tensor.data.map(() => 0.3 * random.normal()),
    );
  };
  const graph = createGraph("operators");
  const [x, w, index] = [graph.float("x", "rows", 8), graph.float("w", 8, 6), graph.int("index", "chosen")];
  const y = matmul(x, w);
  graph.output("norm", layerNorm(y, graph.constant(float32([6], Array(6).fill(1))), { epsilon: 1e-5 }));
  graph.output("softmax", softmax(y));
  graph.output("chosen", gather(transpose(y), index, 1));
  graph.output("sum", reduceSum(mul(exp(y), y), { axes: [0], keep: false }));
  graph.output("best", topK(y, 3).values);
  const feeds = { x: numbers(5, 8), w: numbers(8, 6), index: int64([2], [4, 1]) };
  await using expected = await cpu.load(graph);
  await using session = await webgpu.load(graph);
  const [wanted, got] = [await expected.run(feeds), await session.run(feeds)];
  for (const [name, tensor] of Object.entries(wanted))
    expectClose(got[name] as HostTensor<"float32">, tensor as HostTensor<"float32">, 1e-4);
});

/** Greedy tokens of two prompts under a pool of random experts. */
async function routedTokens(engine: Engine): Promise<readonly (readonly number[])[]> {
  await using base = await loadModel(golden("llama/model"), { engine });
  const model = base.withWoven(randomPool(base));
  const prompts = [
    [5, 9, 12, 31],
    [7, 8],
  ];
  const completions = await generateBatch(model, prompts, { temperature: 0, ignoreEos: true, maxNewTokens: 4 });
  return completions.map(({ ids }) => ids);
}

test.skipIf(skipped)(here("a routed generation"), async () => {
  const before = webgpu.held();
  expect(await routedTokens(webgpu)).toEqual(await routedTokens(cpu));
  await settled();
  expect(webgpu.held()).toEqual(before);
});

/** The losses and parameters of two steps over two micro-batches. */
async function trained(engine: Engine) {
  await using model = await loadModel(golden("llama/model"), { engine });
  // Of the last layer alone, so that the backward pass is short.
  const targets = [...model.base.modules.keys()].filter((module) => /\.(q|v)_proj$/.test(module)).slice(-2);
  const learner = adapterLearner(model.base, freshLora(model.base.modules, { targets, rank: 2, scaling: 1, seed: 5 }));
  await using trainer = await Trainer.create(model.base.architecture, learner, {
    dropout: 0,
    clip: 0.5,
    adamw: { weightDecay: 0.01 },
    seed: 1,
  });
  const random = seededRandom(2);
  const batch = () => {
    const ids = int64(
      [2, 6],
      Array.from({ length: 12 }, () => 3 + random.integer(50)),
    );
    const feeds = { input_ids: ids, attention_mask: int64([2, 6], Array<number>(12).fill(1)), labels: ids };
    return { feeds, sizes: { batch: 2, sequence: 6 } };
  };
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) {
    const { loss, gradientNorm } = await trainer.step(step, 1e-2, [batch(), batch()]);
    losses.push(loss, gradientNorm);
  }
  return { losses, parameters: await trainer.parameters() };
}

test.skipIf(skipped)(here("training steps"), async () => {
  const before = webgpu.held();
  const [expected, got] = [await trained(cpu), await trained(webgpu)];
  for (const [i, number] of expected.losses.entries()) expect(Math.abs(got.losses[i]! - number)).toBeLessThan(NOISE);
  // AdamW divides by sqrt(v): tiny gradients amplify rounding. Two steps of 1e-2 move a parameter by up to 2e-2.
  for (const [name, tensor] of expected.parameters) expectClose(got.parameters.get(name)!, tensor, 2e-3);
  await settled();
  expect(webgpu.held()).toEqual(before);
});

test.skipIf(skipped)(
  here("a tensor that the device has no room for is an error that says what to do, and the device works on"),
  async () => {
    const graph = createGraph("too large");
    graph.output("y", reduceSum(exp(expand(graph.float("x", 1), 2 ** 19, 1024))));
    await using session = await webgpu.load(graph);
    await expect(session.run({ x: float32([1], [0]) })).rejects.toMatchObject({ code: "engine-out-of-memory", fix: /on the CPU/ });
    const small = createGraph("small");
    small.output("y", exp(small.float("x", 1)));
    await using other = await webgpu.load(small);
    expect((await other.run({ x: float32([1], [0]) })).y).toEqual(float32([1], [1]));
  },
);
