import { expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { createGraph } from "../graph/graph.ts";
import type { Graph } from "../graph/value.ts";
import { loadModel } from "../library/model.ts";
import { Session } from "../runtime/session.ts";
import { baseSeams } from "./embedding.ts";
import { logitsOf } from "./logits.ts";
import { bucketOf } from "./t5.ts";
import { fileWeights } from "./weights.ts";

// float32 noise of the reference is below 4e-5 (its README); 1e-4 absolute is the bound it gives for logits.
const TOLERANCE = 1e-4;

// mT5 has one encoder and two decoder layers; t5_v1_0 is the original form: ReLU, head tied to the embeddings and scaled.
test.each(["t5", "mt5", "t5_v1_0"])("%s: logits equal the reference's", async (name) => {
  const expected = await goldenTensors(`${name}/golden.safetensors`);
  await using model = await loadModel(golden(`${name}/model`));
  const { logits } = await model.forward({
    inputIds: expected.int("input_ids"),
    attentionMask: expected.int("attention_mask"),
    decoderInputIds: expected.int("decoder_input_ids"),
  });
  expectClose(logits, expected.float("logits"), TOLERANCE);
});

test("hidden states equal transformers' layer by layer", async () => {
  const expected = await goldenTensors("t5/golden.safetensors");
  await using model = await loadModel(golden("t5/model"));
  const graph = createGraph("states");
  const weights = fileWeights(graph, model.base.checkpoint);
  const observe = (name: string, state: Parameters<Graph["output"]>[1]) => graph.output(name, state);
  graph.output("logits", logitsOf(graph, model.base.architecture, { weights, ...baseSeams(weights), observe }));
  const session = await Session.load(graph);
  const feeds = Object.fromEntries(["input_ids", "attention_mask", "decoder_input_ids"].map((name) => [name, expected.int(name)]));
  const states = await session.run(feeds);
  const mask = expected.int("attention_mask");
  for (const [ours, theirs] of [
    ["encoder.embeddings", "encoder_embeds"],
    ["encoder.block.0", "enc_layer_out_00"],
    ["encoder.block.1", "enc_layer_out_01"],
    ["encoded", "encoder_last_hidden_state"],
  ] as const) {
    expectClose(states[ours]!, expected.float(theirs), TOLERANCE, mask);
  }
  for (const [ours, theirs] of [
    ["decoder.embeddings", "decoder_embeds"],
    ["decoder.block.0", "dec_layer_out_00"],
    ["decoder.block.1", "dec_layer_out_01"],
    ["decoded", "decoder_last_hidden_state"],
  ] as const) {
    expectClose(states[ours]!, expected.float(theirs), TOLERANCE);
  }
  await session.dispose();
});

test("relative position buckets: exact near, logarithmic far, one side for decoders", () => {
  expect([0, 1, 7, 8, 127, 500].map((d) => bucketOf(d, true, 32, 128))).toEqual([0, 17, 23, 24, 31, 31]);
  expect([-1, -8, -128].map((d) => bucketOf(d, true, 32, 128))).toEqual([1, 8, 15]);
  expect([3, 0, -15, -16, -128].map((d) => bucketOf(d, false, 32, 128))).toEqual([0, 0, 15, 16, 31]);
});
