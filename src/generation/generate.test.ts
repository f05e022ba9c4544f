import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { golden, goldenTensors, shared } from "../../tests/golden.ts";
import { OptionError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { t5Experts } from "../routing/experts.test-helper.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import { type CompletionEvent, type GenerateControl, generate, generateBatch, type Prompt, type TokenEvent } from "./generate.ts";
import type { GenerationOptions } from "./options.ts";

// A real tokenizer whose first ids are bytes, so that random models of 160 tokens write broken characters too.
const tokenizer = await loadTokenizer(golden("tokenizers/tinystories"));

async function collected(model: LoadedModel, prompt: Prompt | readonly Prompt[], options: GenerationOptions & GenerateControl = {}) {
  const [tokens, completions]: [TokenEvent[], CompletionEvent[]] = [[], []];
  for await (const event of generate(model, tokenizer, prompt, options)) {
    if (event.kind === "token") tokens.push(event);
    else completions.push(event);
  }
  return { tokens, completions: completions.sort((a, b) => a.index - b.index) };
}

/** The real tokens of each row of a padded batch. */
function rowsOf(ids: HostTensor<"int64">, mask?: HostTensor<"int64">): number[][] {
  const [rows = 0, width = 0] = ids.shape;
  return Array.from({ length: rows }, (_, row) =>
    [...ids.data.subarray(row * width, (row + 1) * width)].map(Number).filter((_, i) => mask?.data[row * width + i] !== 0n),
  );
}

const GREEDY = { maxNewTokens: 20, ignoreEos: true, temperature: 0 };

describe.each(["t5", "mt5", "t5_v1_0", "llama", "llama_bias", "llama_linear", "qwen2", "gpt2", "phi3", "qwen"])("%s", (name) => {
  test("greedy tokens are the reference's, batched, reversed and alone", async () => {
    const expected = await goldenTensors(`${name}/golden.safetensors`);
    await using model = await loadModel(golden(`${name}/model`));
    const prompts = rowsOf(expected.int("gen_input_ids"), expected.int("gen_attention_mask"));
    const wanted = rowsOf(expected.int("gen_new_tokens"));
    expect((await generateBatch(model, prompts, GREEDY)).map(({ ids }) => ids)).toEqual(wanted);
    expect((await generateBatch(model, [...prompts].reverse(), GREEDY)).map(({ ids }) => ids)).toEqual([...wanted].reverse());
    for (const [row, prompt] of prompts.entries()) {
      const { completions } = await collected(model, prompt, GREEDY);
      expect(completions[0]).toMatchObject({
        ids: wanted[row],
        finishReason: "length",
        usage: { promptTokens: prompt.length, completionTokens: 20 },
      });
    }
  });
});

async function phatgooseModel(): Promise<LoadedModel> {
  const model = await loadModel(golden("t5/model"));
  return model.withWoven(new RoutedPool(await t5Experts(model.base.modules), model.base.modules, { router: phatgoose() }));
}

test("PHATGOOSE's greedy tokens are those of the authors' code, alone and side by side", async () => {
  const expected = await goldenTensors("phatgoose_t5/routed.safetensors");
  await using model = await phatgooseModel();
  const prompts = ["gen_prompt0", "gen_prompt1"].map((name) => [...expected.int(name).data].map(Number));
  const wanted = rowsOf(expected.int("gen_new_tokens"));
  expect((await generateBatch(model, prompts, GREEDY)).map(({ ids }) => ids)).toEqual(wanted);
  for (const [row, prompt] of prompts.entries()) expect((await generateBatch(model, [prompt], GREEDY))[0]!.ids).toEqual(wanted[row]);
});

test("a routed completion says which experts served each token, as a forward over it does", async () => {
  await using model = await phatgooseModel();
  const prompt = [5, 6, 7, 8];
  const { tokens, completions } = await collected(model, prompt, { ...GREEDY, maxNewTokens: 3, routes: true });
  const fed = [0, ...completions[0]!.ids.slice(0, -1)];
  const { routes } = await model.forward(
    {
      inputIds: { dtype: "int64", shape: [1, 4], data: BigInt64Array.from(prompt, BigInt) },
      decoderInputIds: { dtype: "int64", shape: [1, 3], data: BigInt64Array.from(fed, BigInt) },
    },
    { routes: true },
  );
  for (const [module, { experts }] of routes!) expect(completions[0]!.routes!.get(module)!.experts, module).toEqual(experts);
  const module = "decoder.block.1.layer.0.SelfAttention.q";
  const perToken = tokens.flatMap(({ route }) => [...route!.get(module)!.experts.data]);
  expect(perToken).toEqual([...routes!.get(module)!.experts.data]);
});

describe("text", () => {
  const sampled = { temperature: 1, seed: 3, maxNewTokens: 60, ignoreEos: true };

  test("pieces together are the completion's text, and no piece holds half a character", async () => {
    await using model = await loadModel(golden("llama/model"));
    const { tokens, completions } = await collected(model, [[5], [6]], { ...sampled, n: 2 });
    for (const { index, text } of completions) {
      expect(
        tokens
          .filter((token) => token.index === index)
          .map((token) => token.text)
          .join(""),
      ).toBe(text);
      expect(text).not.toContain("\uFFFD\uFFFD\uFFFD\uFFFD");
    }
  });

  test("a stop string ends the text before it, wherever it falls among tokens, and is never let out in part", async () => {
    await using model = await loadModel(golden("llama/model"));
    const whole = (await collected(model, [5], sampled)).completions[0]!.text;
    for (const [start, length] of [
      [3, 4],
      [10, 1],
      [7, 9],
    ] as const) {
      const stop = whole.slice(start, start + length);
      const { tokens, completions } = await collected(model, [5], { ...sampled, stop: ["never there", stop] });
      expect(completions[0]).toMatchObject({ text: whole.slice(0, whole.indexOf(stop)), finishReason: "stop" });
      expect(tokens.map((token) => token.text).join("")).toBe(completions[0]!.text);
    }
  });

  test("stop ids and the end of sequence end a completion; the ending token is counted and not part of it", async () => {
    await using model = await loadModel(golden("llama/model"));
    const all = (await generateBatch(model, [[5]], GREEDY))[0]!.ids;
    const end = all[4]!;
    const cut = all.slice(0, all.indexOf(end));
    const { tokens, completions } = await collected(model, [5], { ...GREEDY, stopIds: [end] });
    expect(completions[0]).toMatchObject({ ids: cut, finishReason: "stop", usage: { completionTokens: cut.length + 1 } });
    expect(tokens.at(-1)).toMatchObject({ id: end });
    const eos = await generateBatch(model, [[5]], { ...GREEDY, eosIds: [end], ignoreEos: false });
    expect(eos[0]).toMatchObject({ ids: cut, finishReason: "stop" });
  });
});

describe("several completions", () => {
  const options = { temperature: 1, maxNewTokens: 12, ignoreEos: true, seed: 11 };

  test("differ, are repeatable by seed, and do not depend on the batch they are in", async () => {
    await using model = await loadModel(golden("llama/model"));
    const alone = await generateBatch(model, [[5, 6, 7]], { ...options, n: 3 });
    const batched = await generateBatch(model, [[9], [5, 6, 7], [8, 8, 8, 8, 8]], { ...options, n: 3, batchSize: 3 });
    const ids = alone.map((completion) => completion.ids.join());
    expect(new Set(ids).size).toBe(3);
    expect(batched.slice(3, 6).map((completion) => completion.ids.join())).toEqual(ids);
    const reseeded = await generateBatch(model, [[5, 6, 7]], { ...options, n: 3, seed: 12 });
    expect(reseeded.map((completion) => completion.ids.join())).not.toEqual(ids);
  });

  test("end one by one without disturbing the others", async () => {
    await using model = await loadModel(golden("t5/model"));
    const prompts = [[5, 6, 7], [8, 9], [10]];
    const free = await generateBatch(model, prompts, { ...options, n: 2 });
    const limits = [2, 7, 3, 11, 5, 1];
    const seen: number[] = [];
    const cut = await generateBatch(model, prompts, {
      ...options,
      n: 2,
      until: (ids, prompt) => {
        seen.push(prompt);
        return limits.some((limit, index) => ids.length === limit && free[index]!.ids.slice(0, limit).join() === ids.join());
      },
    });
    cut.forEach(({ ids, finishReason }, index) => {
      expect(ids).toEqual(free[index]!.ids.slice(0, limits[index]));
      expect(finishReason).toBe("stop");
    });
    expect(new Set(seen)).toEqual(new Set([0, 1, 2]));
  });
});

test("log-probabilities are the model's own, whatever is sampled", async () => {
  await using model = await loadModel(golden("llama/model"));
  const { tokens } = await collected(model, [5, 6], { maxNewTokens: 1, logprobs: 160, temperature: 0, logitBias: { 77: 100 } });
  const { logits } = await model.forward({ inputIds: { dtype: "int64", shape: [1, 2], data: BigInt64Array.from([5n, 6n]) } });
  const last = [...logits.data.slice(-160)];
  const total = Math.log(last.reduce((sum, logit) => sum + Math.exp(logit), 0));
  expect(tokens[0]!.id).toBe(77);
  expect(tokens[0]!.logprob).toBeCloseTo(last[77]! - total, 4);
  const top = tokens[0]!.topLogprobs!;
  expect(top.map(({ logprob }) => logprob)).toEqual([...top.map(({ logprob }) => logprob)].sort((a, b) => b - a));
  for (const { id, logprob } of top) expect(logprob).toBeCloseTo(last[id]! - total, 4);
});

test("the next turn reads only what is new, and is answered the same", async () => {
  await using model = await loadModel(golden("llama/model"));
  const first = (await collected(model, [5, 6, 7], GREEDY)).completions[0]!;
  const turn = [5, 6, 7, ...first.ids, 30, 31];
  const second = (await collected(model, turn, GREEDY)).completions[0]!;
  expect(second.usage).toMatchObject({ promptTokens: turn.length, cachedTokens: 22 });
  await using other = await loadModel(golden("llama/model"));
  const anew = (await collected(other, turn, GREEDY)).completions[0]!;
  expect(anew.usage.cachedTokens).toBe(0);
  expect(second.ids).toEqual(anew.ids);
});

test("a generation ends when its signal is aborted or its reader leaves", async () => {
  await using model = await loadModel(golden("llama/model"));
  const controller = new AbortController();
  const seen: number[] = [];
  const run = async () => {
    for await (const event of generate(model, tokenizer, [5], { ...GREEDY, signal: controller.signal })) {
      if (event.kind === "token" && seen.push(event.id) === 3) controller.abort(new Error("enough"));
    }
  };
  await expect(run()).rejects.toMatchObject({ code: "stopped", cause: { message: "enough" } });
  expect(seen).toHaveLength(3);
});

test("a model with a last position ends there", async () => {
  await using model = await loadModel(golden("gpt2/model"));
  const { architecture } = model.base;
  const limit = architecture.kind === "decoder-only" ? architecture.maxPositions! : 0;
  const [completion] = await generateBatch(model, [Array<number>(limit - 2).fill(5)], GREEDY);
  expect(completion).toMatchObject({ finishReason: "length" });
  expect(completion!.ids).toHaveLength(3);
});

test("options that make no sense are refused by name", async () => {
  await using model = await loadModel(golden("llama/model"));
  await expect(generateBatch(model, [[5]], { temperature: -1 })).rejects.toThrow(OptionError);
  await expect(generateBatch(model, [[5]], { topp: 0.9 } as GenerationOptions)).rejects.toThrow("topp");
});

interface Story {
  readonly prompt: string;
  readonly prompt_ids: number[];
  readonly greedy_ids: number[];
}
const stories = shared("models/tinystories-260k-llama");
test.skipIf(!stories)(`a real model tells its stories${stories ? "" : " (skipped: no model beside the checkout)"}`, async () => {
  await using model = await loadModel(stories!);
  const { generations } = JSON.parse(await readFile(`${stories}/expected.json`, "utf8")) as { generations: Story[] };
  const own = await loadTokenizer(stories!);
  for (const { prompt, prompt_ids, greedy_ids } of generations) {
    expect(own.encode(prompt)).toEqual(prompt_ids);
    const events: CompletionEvent[] = [];
    const options = { maxNewTokens: greedy_ids.length, ignoreEos: true };
    for await (const event of generate(model, own, prompt, options)) if (event.kind === "completion") events.push(event);
    expect(events[0]!.ids).toEqual(greedy_ids);
    expect(events[0]!.text).toBe(own.decode([...prompt_ids, ...greedy_ids], { skipSpecialTokens: true }).slice(prompt.length));
  }
});
