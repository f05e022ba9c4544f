import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { byteTokenizer } from "../../../tests/byte-tokenizer.ts";
import { golden } from "../../../tests/golden.ts";
import type { Model } from "../../inference/model.ts";
import { RoutedPool } from "../../inference/routed-pool.ts";
import { singleAdapter } from "../../inference/woven.ts";
import { loadModel } from "../../library/model.ts";
import { phatgoose } from "../../methods/phatgoose.ts";
import { t5Experts } from "../../routing/experts.test-helper.ts";
import { loadAdapter } from "../../storage/peft.ts";
import { type Likelihood, scoreTokens, type TokenRequest } from "./score-tokens.ts";
import { generateUntil, loglikelihood, rollingLoglikelihood, rollingWindows } from "./scorer.ts";

// Made by the models of transformers and the window functions of lm-evaluation-harness; see tests/golden/lm_eval/README.md.
interface GoldenChoice {
  readonly continuation: number[];
  readonly loglikelihood_f64: number;
  readonly is_greedy: boolean;
}
interface Golden {
  readonly examples: readonly { model: string; max_length: number; context: number[]; choices: readonly GoldenChoice[] }[];
  readonly rolling: readonly {
    tokens: number[];
    max_seq_len: number;
    context_len: number;
    prefix_token: number;
    windows: readonly { context: number[]; predict: number[]; loglikelihood: number }[];
  }[];
}
const tokenizer = byteTokenizer(160);
const expected: Golden = JSON.parse(readFileSync(golden("lm_eval/lm_eval.json"), "utf8"));

const requestOf = ({ context, choices }: Golden["examples"][number]): TokenRequest => ({
  context,
  continuations: choices.map(({ continuation }) => continuation),
});
/** Sums of up to 16 tokens of about 10 each, in float32. */
const TOLERANCE = 2e-4;

function expectLikelihoods(actual: readonly Likelihood[], choices: readonly GoldenChoice[]) {
  choices.forEach((choice, i) => {
    expect(Math.abs(actual[i]!.sum - choice.loglikelihood_f64)).toBeLessThan(TOLERANCE);
    expect(actual[i]!.isGreedy).toBe(choice.is_greedy);
    expect(actual[i]!.tokens).toBe(choice.continuation.length);
  });
}

test.each(["llama", "t5"])("%s: choices score as the harness scores them, left truncation included", async (name) => {
  await using model = await loadModel(golden(`${name}/model`));
  for (const example of expected.examples.filter(({ model: other }) => other === name)) {
    const [scores] = await scoreTokens(model, [requestOf(example)], { maxLength: example.max_length });
    expectLikelihoods(scores!, example.choices);
    // Single continuations share nothing, and must give the same results.
    const alone = requestOf(example).continuations.map((continuation) => ({ context: example.context, continuations: [continuation] }));
    expectLikelihoods((await scoreTokens(model, alone, { maxLength: example.max_length })).flat(), example.choices);
  }
});

test("windows and likelihoods of long documents are the harness's", async () => {
  await using model = await loadModel(golden("llama/model"));
  for (const { tokens, max_seq_len: maxLength, context_len: contextLength, prefix_token: prefix, windows } of expected.rolling) {
    const found = rollingWindows(tokens, { prefix, maxLength, contextLength });
    expect(found).toEqual(windows.map(({ context, predict }) => ({ context, continuation: predict })));
    const requests = found.map(({ context, continuation }) => ({ context, continuations: [continuation] }));
    const scores = (await scoreTokens(model, requests, { maxLength })).flat();
    windows.forEach(({ loglikelihood }, i) => {
      expect(Math.abs(scores[i]!.sum - loglikelihood)).toBeLessThan(TOLERANCE);
    });
  }
});

async function bothOrders(model: Model, name: string) {
  const requests = expected.examples.filter(({ model: other }) => other === name).map(requestOf);
  const many = await scoreTokens(model, requests, { batchSize: 64 });
  const single = await scoreTokens(model, requests, { batchSize: 1 });
  const reversed = (await scoreTokens(model, [...requests].reverse(), { batchSize: 3 })).reverse();
  return { many, single, reversed };
}

test.each(["llama", "t5"])("%s: batch size and order do not change a likelihood", async (name) => {
  await using model = await loadModel(golden(`${name}/model`));
  const { many, single, reversed } = await bothOrders(model, name);
  many.flat().forEach((likelihood, i) => {
    for (const other of [single.flat()[i]!, reversed.flat()[i]!]) {
      expect(Math.abs(other.sum - likelihood.sum)).toBeLessThan(TOLERANCE);
      expect(other.isGreedy).toBe(likelihood.isGreedy);
    }
  });
});

test("choices that share their prompt score as each alone: with a routed pool, with an adapter", async () => {
  await using t5 = await loadModel(golden("t5/model"));
  await using llama = await loadModel(golden("llama/model"));
  const pool = new RoutedPool(await t5Experts(t5.base.modules), t5.base.modules, { router: phatgoose() });
  const adapter = await loadAdapter(golden("llama/adapter_step5"), llama.base.modules);
  const models = [
    { model: t5.withWoven(pool), name: "t5" },
    { model: llama.withWoven(singleAdapter(adapter, llama.base.modules)), name: "llama" },
  ];
  for (const { model, name } of models) {
    const requests = expected.examples.filter(({ model: other }) => other === name).map(requestOf);
    const split = requests.flatMap(({ context, continuations }) => continuations.map((one) => ({ context, continuations: [one] })));
    const [together, alone] = [(await scoreTokens(model, requests)).flat(), (await scoreTokens(model, split)).flat()];
    // Float32 rounding of a sum, relative to it.
    for (const [i, { sum }] of together.entries()) {
      expect(Math.abs(sum - alone[i]!.sum)).toBeLessThan(1e-5 * Math.max(1, Math.abs(sum)));
    }
  }
});

test("an empty continuation is refused", async () => {
  await using model = await loadModel(golden("t5/model"));
  await expect(scoreTokens(model, [{ context: [3, 1], continuations: [[]] }])).rejects.toMatchObject({ name: "ShapeError" });
});

// gpt2 has a table of 128 positions; llama's configuration has 256.
test.each([
  ["gpt2", 128],
  ["llama", 256],
])("%s: what is longer than the model's %i positions loses its beginning", async (name, length) => {
  await using model = await loadModel(golden(`${name}/model`));
  const text = "the quick brown fox ".repeat(20);
  const options = { until: [], maxTokens: 20 };
  const [long, end] = [text, text.slice(-(length - 20))].map((input) => ({ input }));
  const [whole, cut] = await generateUntil(model, tokenizer, [long!, end!], options);
  expect(whole).toBe(cut);
  const [pair] = await loglikelihood(model, tokenizer, [{ context: text, continuation: "jumps" }]);
  const [near] = await loglikelihood(model, tokenizer, [{ context: text.slice(-(length - 4)), continuation: "jumps" }]);
  expect(Math.abs(pair!.sum - near!.sum)).toBeLessThan(TOLERANCE);
  const [document] = await rollingLoglikelihood(model, tokenizer, [text]);
  const [windowed] = await rollingLoglikelihood(model, tokenizer, [text], { maxLength: length });
  expect(document).toEqual(windowed);
  expect(document!.tokens).toBe(400);
});

test("with an encoder nothing is cut unless somebody says where", async () => {
  await using model = await loadModel(golden("t5/model"));
  const [start, end] = ["z".repeat(700), "the end"];
  const asked = (input: string, maxLength?: number) =>
    generateUntil(model, tokenizer, [{ input }], { until: [], maxTokens: 6, ...(maxLength && { maxLength }) });
  expect(await asked(start + end)).not.toEqual(await asked(end));
  expect(await asked(start + end, 8)).toEqual(await asked(end));
});
