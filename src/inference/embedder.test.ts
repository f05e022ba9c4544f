import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { respelled } from "../../tests/checkpoints.ts";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { createGraph } from "../graph/graph.ts";
import { loadModel } from "../library/model.ts";
import { bert, pooledUnit, textInputs } from "../models/bert.ts";
import { fileWeights } from "../models/weights.ts";
import { Session } from "../runtime/session.ts";
import { bertTokenizerJson } from "../text/bert-vocabulary.ts";
import { createHubTokenizer } from "../text/hub-tokenizer.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import { baseEmbedder, textEmbedder, textPrompts } from "./embedder.ts";

interface Expected {
  readonly text: string;
  readonly lower: { readonly ids: number[] };
  readonly cased: { readonly ids: number[] };
}
const { texts, batch_texts: batchTexts } = JSON.parse(await readFile(golden("bert_embedder/tokens.json"), "utf8")) as {
  texts: Expected[];
  batch_texts: string[];
};

test("every layer, the mean and the embedding equal transformers'", async () => {
  const expected = await goldenTensors("bert_embedder/golden.safetensors");
  const checkpoint = await openCheckpoint(golden("bert_embedder/model"));
  const graph = createGraph("bert");
  const { ids, valid } = textInputs(graph);
  const encoder = bert(checkpoint.config, new Set(checkpoint.tensors.keys()));
  const states = encoder.encode(ids, valid, fileWeights(graph, checkpoint), (name, state) => graph.output(`${name} out`, state));
  graph.output("states", states);
  graph.output("embedding", pooledUnit(states, valid));
  await using session = await Session.load(graph);
  const mask = expected.int("attention_mask");
  const results = await session.run({ input_ids: expected.get("input_ids"), attention_mask: mask });
  expectClose(results["embeddings out"]!, expected.float("embeddings_out"), 1e-5, mask);
  expectClose(results["layer.0 out"]!, expected.float("layer_out_00"), 1e-5, mask);
  expectClose(results.states!, expected.float("last_hidden_state"), 1e-5, mask);
  expectClose(results.embedding!, expected.float("embedding"), 1e-6);
});

test("token ids equal BertTokenizer's, with and without lower-casing", async () => {
  const vocabulary = await readFile(golden("bert_embedder/model/vocab.txt"), "utf8");
  const cased = createHubTokenizer(bertTokenizerJson(vocabulary, { lowercase: false }), {
    config: {},
    templates: new Map(),
    where: "vocab.txt",
  });
  const lower = await loadTokenizer(golden("bert_embedder/model"));
  for (const { text, ...ids } of texts) {
    expect(lower.encode(text), text).toEqual(ids.lower.ids);
    expect(cased.encode(text), text).toEqual(ids.cased.ids);
  }
});

test("an encoder with a tokenizer.json and no vocab.txt, its tensors under bert., embeds as well", async () => {
  await respelled(golden("bert_embedder/model"), { tensor: (name) => `bert.${name}` }, async (folder) => {
    const vocabulary = await readFile(golden("bert_embedder/model/vocab.txt"), "utf8");
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(bertTokenizerJson(vocabulary)));
    const tokenizer = await loadTokenizer(folder);
    for (const { text, lower } of texts) expect(tokenizer.encode(text), text).toEqual(lower.ids);
    await using model = await loadModel(golden("t5/model"));
    const [ours, theirs] = [
      await textEmbedder(folder, model, tokenizer),
      await textEmbedder(golden("bert_embedder/model"), model, tokenizer),
    ];
    const prompts = textPrompts(["red and green", "blue"], tokenizer);
    expectClose(await ours.embed(prompts), await theirs.embed(prompts), 1e-7);
  });
});

test("texts that come as another model's tokens are embedded as transformers embeds the texts", async () => {
  const expected = (await goldenTensors("bert_embedder/golden.safetensors")).float("embedding");
  // The base's tokenizer here keeps every character, so that its round trip gives the texts back.
  const bytes = { encode: (text: string) => [...Buffer.from(text)], decode: (ids: readonly number[]) => Buffer.from(ids).toString() };
  const tokenizer = { ...(await loadTokenizer(golden("bert_embedder/model"))), ...bytes };
  await using model = await loadModel(golden("t5/model"));
  const embedder = await textEmbedder(golden("bert_embedder/model"), model, tokenizer);
  expectClose(await embedder.embed(textPrompts(batchTexts, tokenizer)), expected, 1e-6);
});

test.each(["t5/model"])("%s's own states: unit vectors that padding does not change", async (name) => {
  await using model = await loadModel(golden(name));
  const embedder = baseEmbedder(model);
  const batch = await goldenTensors("t5/golden.safetensors");
  const [ids, mask] = [batch.int("input_ids"), batch.int("attention_mask")];
  const together = await embedder.embed({ inputIds: ids, attentionMask: mask });
  const [, width = 0] = ids.shape;
  for (const row of [0, 1]) {
    const real = Number(mask.data.slice(row * width, (row + 1) * width).reduce((sum, bit) => sum + bit, 0n));
    const cut = (tensor: typeof ids) => ({ ...tensor, shape: [1, real], data: tensor.data.slice(row * width, row * width + real) });
    const alone = await embedder.embed({ inputIds: cut(ids), attentionMask: cut(mask) });
    const size = alone.data.length;
    expectClose(alone, { ...alone, data: together.data.slice(row * size, (row + 1) * size) }, 1e-5);
    expect(Math.hypot(...alone.data)).toBeCloseTo(1, 5);
  }
});
