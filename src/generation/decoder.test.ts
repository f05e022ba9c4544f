/** @file Decoding step by step computes what one forward over everything computes: for every kind of model and whatever is woven in. */

import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { ShapeError } from "../base/errors.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { baseOf } from "../inference/base.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { RowChoice } from "../inference/row-choices.ts";
import { Runner } from "../inference/runner.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../routing/phatgoose.ts";
import { BARRED } from "../routing/router.ts";
import { loadAdapter } from "../storage/peft.ts";
import { Decoder, type Step } from "./decoder.ts";
import { joinedRoutes, type Routes } from "./routes.ts";

// Two float32 computations of the same sums in another order; logits are of size 10.
const TOLERANCE = 1e-4;

/** The real tokens of each row. */
function rowsOf(ids: HostTensor<"int64">, mask: HostTensor<"int64">): number[][] {
  const [rows = 0, width = 0] = ids.shape;
  return Array.from({ length: rows }, (_, row) =>
    [...ids.data.subarray(row * width, (row + 1) * width)].map(Number).filter((_, i) => mask.data[row * width + i] === 1n),
  );
}
function rowOf({ shape, data }: HostTensor<"float32">, row: number): HostTensor<"float32"> {
  const width = shape.at(-1)!;
  return float32([width], data.subarray(row * width, (row + 1) * width));
}
const sentence = (random: Random, length: number): number[] => Array.from({ length }, () => 3 + random.integer(61));
const ids = (row: readonly number[]) => int64([1, row.length], row);

/** A full forward over each row alone, whose last positions the decoder has to reproduce. */
async function fullLogits(model: LoadedModel, prompt: readonly number[], generated: readonly number[]): Promise<HostTensor<"float32">[]> {
  const { architecture } = model.base;
  const seen = [...prompt, ...generated];
  const { logits } =
    architecture.kind === "decoder-only"
      ? await model.forward({ inputIds: ids(seen) })
      : await model.forward({ inputIds: ids(prompt), decoderInputIds: ids([architecture.decoderStartId, ...generated]) });
  const first = logits.shape[1]! - generated.length - 1;
  return Array.from({ length: generated.length + 1 }, (_, i) => rowOf(logits, first + i));
}

/** Decodes three prompts of unequal length side by side, through a growth of the cache, and compares every step. */
async function expectSameAsForward(model: LoadedModel, { chunk = 256, steps = 70 } = {}): Promise<void> {
  const random = seededRandom(1);
  const prompts = [11, 3, 29].map((length) => sentence(random, length));
  const generated = prompts.map(() => sentence(random, steps));
  const expected = await Promise.all(prompts.map((prompt, row) => fullLogits(model, prompt, generated[row]!)));
  const decoder = new Decoder(model, { chunk });
  let step: Step = await decoder.start(prompts);
  for (let t = 0; ; t++) {
    for (const row of prompts.keys()) expect(maxDifference(rowOf(step.logits, row), expected[row]![t]!)).toBeLessThan(TOLERANCE);
    if (t === steps) break;
    step = await decoder.append(generated.map((tokens) => [tokens[t]!]));
  }
  if (steps === 70) expect(decoder.capacity).toBe(128);
}

const WINDOWED = ["mistral_window", "gemma2", "gemma3_text"];
const MODELS = [
  ...["t5", "llama", "qwen2", "gpt2", "phi3", "qwen"].map((name) => `${name}/model`),
  ...WINDOWED.map((name) => `decoders/${name}`),
];

/** A LoRA on every module that has an input vector, and on embeddings unless left out, strong enough to matter. */
function randomAdapter(model: LoadedModel, random: Random, { embeddings = true } = {}): LoraAdapter {
  const tensor = (...shape: [number, number]) =>
    float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => 0.1 * random.normal()),
    );
  const adapted = [...model.base.modules].filter(([, { embedding }]) => embeddings || !embedding);
  const modules = adapted.map(([module, { in: inputs, out, embedding }]): [string, LoraWeights] => [
    module,
    { rank: 4, scaling: 1, a: tensor(4, inputs), b: tensor(out, 4), ...(embedding && { embedding }) },
  ]);
  return { kind: "lora", modules: new Map(modules), warnings: [] };
}
function randomPool(model: LoadedModel, rows?: RowChoice): Woven {
  const random = seededRandom(2);
  const experts = Array.from({ length: 5 }, (_, i): Expert => {
    const adapter = randomAdapter(model, random, { embeddings: false });
    const gates = new Map(
      [...adapter.modules].map(([module, { a }]) => {
        const width = a.shape[1]!;
        return [module, float32([width], Float32Array.from({ length: width }, random.normal))];
      }),
    );
    return { name: `expert ${i}`, adapter, gates, warnings: [] };
  });
  return new RoutedPool(experts, model.base.modules, { router: phatgoose(), ...(rows && { rows }) });
}
/** Leaves each row three of five experts, by its first real token. */
function byFirstToken(inputIds: HostTensor<"int64">, mask: HostTensor<"int64">): HostTensor<"float32"> {
  const firsts = rowsOf(inputIds, mask).map(([first]) => first!);
  return float32(
    [firsts.length, 5],
    firsts.flatMap((first) => [0, 1, 2, 3, 4].map((expert) => ((expert + first) % 5 < 3 ? 0 : BARRED))),
  );
}
const WOVEN: Readonly<Record<string, (model: LoadedModel) => Woven>> = {
  base: () => plain,
  "one adapter": (model) => singleAdapter(randomAdapter(model, seededRandom(3)), model.base.modules),
  "routed pool": (model) => randomPool(model),
  "experts chosen by each row": (model) => randomPool(model, async ({ inputIds, attentionMask }) => byFirstToken(inputIds, attentionMask)),
};

describe.each(MODELS)("%s", (name) => {
  test.each(Object.keys(WOVEN))("%s: every step's logits are the full forward's", async (what) => {
    await using model = await loadModel(golden(name));
    await expectSameAsForward(model.withWoven(WOVEN[what]!(model)), { steps: name === "qwen/model" ? 30 : 70 });
  });

  test("routes are the full forward's", async () => {
    await using base = await loadModel(golden(name));
    const model = base.withWoven(randomPool(base));
    const random = seededRandom(5);
    const prompts = [sentence(random, 9), sentence(random, 4)];
    const generated = prompts.map(() => sentence(random, 6));
    const decoder = new Decoder(model, { chunk: 4 });
    const { encoderRoutes, ...first } = await decoder.start(prompts, { routes: true });
    const pieces = prompts.map((_, row): Routes[] => [...(encoderRoutes ? [encoderRoutes[row]!] : []), first.routes![row]!]);
    for (const t of generated[0]!.keys()) {
      const step = await decoder.append(generated.map((tokens) => [tokens[t]!]));
      for (const row of prompts.keys()) pieces[row]!.push(step.routes![row]!);
    }
    for (const [row, prompt] of prompts.entries()) await expectRoutes(model, joinedRoutes(pieces[row]!), prompt, generated[row]!);
  });
});

async function expectRoutes(model: LoadedModel, actual: Routes, prompt: readonly number[], generated: readonly number[]): Promise<void> {
  const { architecture } = model.base;
  const batch =
    architecture.kind === "decoder-only"
      ? { inputIds: ids([...prompt, ...generated]) }
      : { inputIds: ids(prompt), decoderInputIds: ids([architecture.decoderStartId, ...generated]) };
  const { routes } = await model.forward(batch, { routes: true });
  expect([...actual.keys()].sort()).toEqual([...routes!.keys()].sort());
  for (const [module, route] of routes!) {
    // The last layer's head sees only the last token of each run, in decoding.
    if (module === "lm_head") continue;
    expect(actual.get(module)!.experts, module).toEqual(route.experts);
    expectClose(actual.get(module)!.weights, route.weights, TOLERANCE);
  }
}

test.each(readdirSync(golden("decoders")).filter((name) => existsSync(golden(`decoders/${name}/lora.safetensors`))))(
  "%s: greedy tokens of two prompts side by side are transformers', read whole and in chunks",
  async (name) => {
    const { int } = await goldenTensors(`decoders/${name}/lora.safetensors`);
    await using model = await loadModel(golden(`decoders/${name}`));
    const [prompts, expected] = [rowsOf(int("gen_input_ids"), int("gen_attention_mask")), int("gen_new_tokens")];
    const count = expected.shape[1]!;
    for (const chunk of [256, 4]) {
      const decoder = new Decoder(model, { chunk });
      let step: Step = await decoder.start(prompts);
      for (let t = 0; t < count; t++) {
        const likeliest = prompts.map((_, row) => rowOf(step.logits, row).data).map((logits) => logits.indexOf(Math.max(...logits)));
        expect(likeliest).toEqual(prompts.map((_, row) => Number(expected.data[row * count + t])));
        if (t + 1 < count) step = await decoder.append(likeliest.map((token) => [token]));
      }
    }
  },
);

test("t5: prompts of the golden batch, whatever side was padded, give transformers' logits at every step", async () => {
  const expected = await goldenTensors("t5/golden.safetensors");
  await using model = await loadModel(golden("t5/model"));
  const prompts = rowsOf(expected.int("input_ids"), expected.int("attention_mask"));
  const [decoderIds, logits] = [expected.int("decoder_input_ids"), expected.float("logits")];
  const targets = decoderIds.shape[1]!;
  const decoder = new Decoder(model);
  let step: Step = await decoder.start(prompts);
  for (let t = 0; ; t++) {
    for (const row of prompts.keys()) expectClose(rowOf(step.logits, row), rowOf(logits, row * targets + t), TOLERANCE);
    if (t + 1 === targets) break;
    step = await decoder.append(prompts.map((_, row) => [Number(decoderIds.data[row * targets + t + 1])]));
  }
});

/** A golden Llama whose rotary positions depend on the length: `change` is laid over its config.json. */
async function withConfig(change: Record<string, unknown>, use: (model: LoadedModel) => Promise<void>): Promise<void> {
  const checkpoint = await openCheckpoint(golden("llama/model"));
  const base = baseOf({ ...checkpoint, config: { ...checkpoint.config, ...change } });
  await using model = new LoadedModel({ base, runner: new Runner(base), woven: plain }, { isOwner: true });
  await use(model);
}

/** Compares each step with a forward over what there is by then: for models where later tokens change earlier ones. */
async function expectSameAsForwards(model: LoadedModel, prompts: readonly number[][], steps: number): Promise<void> {
  const random = seededRandom(6);
  const generated = prompts.map(() => sentence(random, steps));
  const decoder = new Decoder(model, { chunk: 16 });
  let step: Step = await decoder.start(prompts);
  for (let t = 0; t <= steps; t++) {
    for (const [row, prompt] of prompts.entries()) {
      const [expected] = await fullLogits(model, [...prompt, ...generated[row]!.slice(0, t)], []);
      expectClose(rowOf(step.logits, row), expected!, TOLERANCE);
    }
    if (t < steps) step = await decoder.append(generated.map((tokens) => [tokens[t]!]));
  }
}

describe("positions that depend on the sequence's length", () => {
  const prompt = (length: number) => sentence(seededRandom(length), length);

  test("qwen past its trained length of 64: each row's keys are computed anew when it crosses", async () => {
    await using model = await loadModel(golden("qwen/model"));
    await expectSameAsForwards(model, [prompt(63), prompt(60), prompt(130)], 6);
  });
  test("dynamic scaling past the maximum: every length has its own keys", async () => {
    const scaling = { rope_scaling: { type: "dynamic", factor: 2 }, max_position_embeddings: 32 };
    await withConfig(scaling, (model) => expectSameAsForwards(model, [prompt(29)], 6));
  });
});

test("a prompt read in chunks gives the logits of one read whole", async () => {
  await using model = await loadModel(golden("llama/model"));
  await expectSameAsForward(model, { chunk: 7 });
});

test("rows that are dropped, reordered and repeated go on as they were", async () => {
  for (const name of ["t5", "llama"]) {
    await using model = await loadModel(golden(`${name}/model`));
    const random = seededRandom(7);
    const prompts = [12, 5, 8].map((length) => sentence(random, length));
    const [alone, together] = [new Decoder(model), new Decoder(model)];
    await together.start(prompts);
    await together.append([[9], [10], [11]]);
    together.select([0, 2]);
    together.select([1, 0, 1]);
    const { logits } = await together.append([[20], [21], [22]]);
    for (const [row, [prompt, next]] of (
      [
        [2, [11, 20]],
        [0, [9, 21]],
        [2, [11, 22]],
      ] as const
    ).entries()) {
      await alone.start([prompts[prompt]!]);
      await alone.append([[next[0]]]);
      expectClose(rowOf(logits, row), rowOf((await alone.append([[next[1]]])).logits, 0), TOLERANCE);
    }
  }
});

test("rows may take different numbers of tokens at once, none included", async () => {
  await using model = await loadModel(golden("llama/model"));
  const decoder = new Decoder(model, { chunk: 3 });
  await decoder.start([
    [5, 6, 7],
    [8, 9],
  ]);
  const { logits } = await decoder.append([[10], [11, 12, 13, 14]]);
  expectClose(rowOf(logits, 0), (await fullLogits(model, [5, 6, 7], [10]))[1]!, TOLERANCE);
  expectClose(rowOf(logits, 1), (await fullLogits(model, [8, 9, 11, 12, 13], [14]))[1]!, TOLERANCE);
  await decoder.append([[20], []]);
  expect(decoder.tokens).toEqual([
    [5, 6, 7, 10, 20],
    [8, 9, 11, 12, 13, 14],
  ]);
  const next = await decoder.append([[21], [15]]);
  expectClose(rowOf(next.logits, 1), (await fullLogits(model, [8, 9, 11, 12, 13, 14], [15]))[1]!, TOLERANCE);
});

test("the next turn of a chat keeps what the cache holds", async () => {
  await using model = await loadModel(golden("llama/model"));
  const random = seededRandom(8);
  const [first, second] = [sentence(random, 20), sentence(random, 10)];
  const decoder = new Decoder(model);
  expect((await decoder.start([first])).kept).toBeUndefined();
  await decoder.append([[30]]);
  const turn = [...first, 31, ...second]; // the answer was rendered otherwise than it was generated
  const { kept, logits } = await decoder.start([turn]);
  expect(kept).toEqual([20]);
  expectClose(rowOf(logits, 0), (await fullLogits(model, turn, []))[0]!, TOLERANCE);
});

test("rows keep their own choice of experts when others are dropped, and a chat whose choice changes starts anew", async () => {
  await using base = await loadModel(golden("llama/model"));
  const model = base.withWoven(WOVEN["experts chosen by each row"]!(base));
  const decoder = new Decoder(model);
  await decoder.start([
    [5, 6, 7],
    [8, 9],
  ]);
  decoder.select([1]);
  const { logits } = await decoder.append([[10]]);
  expectClose(rowOf(logits, 0), (await fullLogits(model, [8, 9, 10], []))[0]!, TOLERANCE);
  expect((await decoder.start([[8, 9, 10, 11]])).kept).toEqual([3]);
  expect((await decoder.start([[9, 9, 10, 11]])).kept).toBeUndefined();
});

test("PEFT's adapter decodes to the logits PEFT computes", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("t5/golden.safetensors");
  const logits = (await goldenTensors("t5/lora.safetensors")).float("logits");
  const adapter = await loadAdapter(golden("t5/adapter_init"), model.base.modules);
  if (adapter.kind !== "lora") throw new Error("expected a LoRA");
  const decoderIds = expected.int("decoder_input_ids");
  const targets = decoderIds.shape[1]!;
  const decoder = new Decoder(model.withWoven(singleAdapter(adapter, model.base.modules)));
  await decoder.start(rowsOf(expected.int("input_ids"), expected.int("attention_mask")));
  const rest = (row: number) => [...decoderIds.data.subarray(row * targets + 1, (row + 1) * targets)].map(Number);
  const step = await decoder.append([0, 1, 2, 3].map(rest));
  for (const row of [0, 1, 2, 3]) expectClose(rowOf(step.logits, row), rowOf(logits, (row + 1) * targets - 1), TOLERANCE);
});

test("a prompt without tokens, of unknown tokens or too long is refused", async () => {
  await using model = await loadModel(golden("gpt2/model"));
  const decoder = new Decoder(model);
  await expect(decoder.start([[]])).rejects.toThrow(ShapeError);
  await expect(decoder.start([[160]])).rejects.toThrow("Token id 160");
  await expect(decoder.start([Array<number>(10_000).fill(5)])).rejects.toThrow("positions");
});
