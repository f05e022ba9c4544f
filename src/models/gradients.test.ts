/** @file In every architecture, compares the gradient of a LoRA on all modules, including embeddings and head, with central differences. */

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { adapted, adapterTensors } from "../adapters/in-graph.ts";
import { embeddingLoraNames } from "../adapters/lora.ts";
import type { ModuleSize } from "../adapters/modules.ts";
import { gradients } from "../autodiff/gradient.ts";
import { seededRandom } from "../base/random.ts";
import { elements, float32, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { mul, tanh, toFloat } from "../graph/ops/elementwise.ts";
import { unsqueeze } from "../graph/ops/movement.ts";
import { reduceMean } from "../graph/ops/reduce.ts";
import type { Float } from "../graph/value.ts";
import { loadModel } from "../library/model.ts";
import { Session } from "../runtime/session.ts";
import { freshLora } from "../training/learner.ts";
import { baseSeams } from "./embedding.ts";
import { logitsOf } from "./logits.ts";
import { fileWeights } from "./weights.ts";

const CASES = readdirSync(golden("decoders")).map((name) => `decoders/${name}`);
const typeOf = (folder: string): string => JSON.parse(readFileSync(golden(`${folder}/config.json`), "utf8")).model_type;
/** One checkpoint of each model_type, and one whose positions depend on the length. */
const FOLDERS = [...new Map(["gpt2/model", "qwen/model", ...CASES].map((f) => [typeOf(f), f])).values(), "decoders/llama_dynamic"];
const STEP = 1e-2; // float32's rounding is too large for smaller steps

describe.each(FOLDERS)("%s", (folder) => {
  test("every module", () => expectGradient(folder, () => true));
  test("embeddings alone", () => expectGradient(folder, (_, { embedding }) => embedding === true));
});

async function expectGradient(folder: string, isTarget: (module: string, size: ModuleSize) => boolean): Promise<void> {
  await using model = await loadModel(golden(folder));
  const graph = createGraph("gradients");
  const weights = fileWeights(graph, model.base.checkpoint);
  const adapter = freshLora(model.base.modules, {
    targets: [...model.base.modules].flatMap(([module, size]) => (isTarget(module, size) ? [module] : [])),
    rank: 2,
    scaling: 0.5,
    seed: 7,
  });
  // Bounded, and with a different slope for each logit. It covers only real tokens: in a padding slot every key may be masked, and the
  // number that masks them is too large for float32 to keep the scores, so the loss does not follow the gradient. Training ignores them too.
  const logits = tanh(logitsOf(graph, model.base.architecture, { weights, ...adapted(baseSeams(weights), adapter, model.base.modules) }));
  const real = unsqueeze(toFloat(graph.int("attention_mask", "batch", "sequence")), -1);
  const loss = reduceMean(mul(logits, real), { axes: [0, 1, 2], keep: false });
  graph.output("loss", loss);
  const parameters = [...adapterTensors(adapter).keys()].map((name) => graph.inputs.get(name) as Float);
  gradients(loss, parameters).forEach((gradient, i) => {
    graph.output(`grad.${parameters[i]!.name}`, gradient);
  });
  await using session = await Session.load(graph);

  const random = seededRandom(7);
  const at = parameters.map(({ shape }) => Float32Array.from({ length: elements(shape as number[]) }, () => 0.1 * random.normal()));
  const ids = int64(
    [2, 20],
    Array.from({ length: 40 }, () => 3 + random.integer(60)),
  );
  const mask = int64([2, 20], [...Array(20).fill(1), ...Array(5).fill(0), ...Array(15).fill(1)]);
  const run = (step: number, direction?: readonly Float32Array[]) => {
    const moved = at.map((values, i) => (direction ? values.map((value, j) => value + step * direction[i]![j]!) : values));
    const feeds: Record<string, HostTensor> = { input_ids: ids, attention_mask: mask };
    parameters.forEach(({ name, shape }, i) => {
      feeds[name] = float32(shape as number[], moved[i]!);
    });
    return session.run(feeds);
  };
  const here = await run(0);
  const gradient = parameters.map(({ name }) => here[`grad.${name}`]!.data as Float32Array);
  const length = Math.hypot(...gradient.map((part) => Math.hypot(...part)));
  const along = gradient.map((part) => part.map((g) => g / length));
  const lossAt = async (step: number) => Number((await run(step, along)).loss!.data[0]);
  // In the gradient's direction, the slope of the loss is the gradient's length.
  const measured = ((await lossAt(STEP)) - (await lossAt(-STEP))) / (2 * STEP);
  expect(Math.abs(measured / length - 1)).toBeLessThan(0.02);
  expect(parameters.length).toBe(2 * adapter.modules.size);
  expect(parameters[0]!.name).toBe(embeddingLoraNames([...model.base.modules.keys()][0]!).aT);
  expect(gradient.every((part) => part.some((value) => value !== 0))).toBe(true);
}
