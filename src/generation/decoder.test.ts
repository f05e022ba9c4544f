/** @file Decoding step by step computes what one forward over everything computes: for every kind of model and whatever is woven in. */

import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import { ShapeError } from "../base/errors.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { baseOf } from "../inference/base.ts";
import { Runner } from "../inference/runner.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { LoadedModel, loadModel } from "../library/model.ts";
import { BARRED } from "../routing/router.ts";
import { loadAdapter } from "../storage/peft.ts";
import { Decoder } from "./decoder.ts";
import { joinedRoutes, type Routes } from "./routes.ts";
import { Rows, type Step } from "./rows.test-helper.ts";
import { randomAdapter, randomPool } from "./woven.test-helper.ts";

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
  const { rows, ...first } = await Rows.start(model, prompts, { chunk });
  let step: Step = first;
  for (let t = 0; ; t++) {
    for (const row of prompts.keys()) expect(maxDifference(rowOf(step.logits, row), expected[row]![t]!)).toBeLessThan(TOLERANCE);
    if (t === steps) break;
    step = await rows.append(generated.map((tokens) => [tokens[t]!]));
  }
  if (steps === 70) expect(rows.decoder.capacity).toBe(128);
}

const WINDOWED = ["mistral_window", "gemma2", "gemma3_text"];
const MODELS = [
  ...["t5", "llama", "qwen2", "gpt2", "phi3", "qwen"].map((name) => `${name}/model`),
  ...WINDOWED.map((name) => `decoders/${name}`),
];

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
  "experts chosen by each row": (model) =>
    randomPool(model, { rows: async ({ inputIds, attentionMask }) => byFirstToken(inputIds, attentionMask) }),
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
    const { rows, ...first } = await Rows.start(model, prompts, { chunk: 4, routes: true });
    const pieces = rows.slots.map(({ encoderRoutes }, row): Routes[] => [...(encoderRoutes ? [encoderRoutes] : []), first.routes![row]!]);
    for (const t of generated[0]!.keys()) {
      const step = await rows.append(generated.map((tokens) => [tokens[t]!]));
      for (const row of prompts.keys()) pieces[row]!.push(step.routes![row]!);
    }
    for (const [row, prompt] of prompts.entries()) {
      expect(rows.slots[row]!.routes).toEqual(joinedRoutes(pieces[row]!));
      await expectRoutes(model, joinedRoutes(pieces[row]!), prompt, generated[row]!);
    }
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
      const { rows, ...first } = await Rows.start(model, prompts, { chunk });
      let step: Step = first;
      for (let t = 0; t < count; t++) {
        const tokens = prompts.map((_, row) => Number(expected.data[row * count + t]));
        const likeliest = prompts.map((_, row) => rowOf(step.logits, row).data).map((logits) => logits.indexOf(Math.max(...logits)));
        // In transformers the longest row of a batch decides how all are placed; here each row's own length does.
        const { architecture } = model.base;
        const steadyUntil = (architecture.kind === "decoder-only" && architecture.steadyUntil) || (() => 0);
        const longest = Math.max(...prompts.map(({ length }) => length)) + t;
        const alike = (row: number) => steadyUntil(prompts[row]!.length + t) === steadyUntil(longest);
        expect(likeliest.filter((_, row) => alike(row))).toEqual(tokens.filter((_, row) => alike(row)));
        if (t + 1 < count) step = await rows.append(tokens.map((token) => [token]));
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
  const { rows, ...first } = await Rows.start(model, prompts);
  let step: Step = first;
  for (let t = 0; ; t++) {
    for (const row of prompts.keys()) expectClose(rowOf(step.logits, row), rowOf(logits, row * targets + t), TOLERANCE);
    if (t + 1 === targets) break;
    step = await rows.append(prompts.map((_, row) => [Number(decoderIds.data[row * targets + t + 1])]));
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
  const { rows, ...first } = await Rows.start(model, prompts, { chunk: 16 });
  let step: Step = first;
  for (let t = 0; t <= steps; t++) {
    for (const [row, prompt] of prompts.entries()) {
      const [expected] = await fullLogits(model, [...prompt, ...generated[row]!.slice(0, t)], []);
      expectClose(rowOf(step.logits, row), expected!, TOLERANCE);
    }
    if (t < steps) step = await rows.append(generated.map((tokens) => [tokens[t]!]));
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
    const { rows: together } = await Rows.start(model, prompts);
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
      const { rows: alone } = await Rows.start(model, [prompts[prompt]!]);
      await alone.append([[next[0]]]);
      expectClose(rowOf(logits, row), rowOf((await alone.append([[next[1]]])).logits, 0), TOLERANCE);
    }
  }
});

test("rows may take different numbers of tokens at once, none included", async () => {
  await using model = await loadModel(golden("llama/model"));
  const prompts = [
    [5, 6, 7],
    [8, 9],
  ];
  const { rows } = await Rows.start(model, prompts, { chunk: 3 });
  const { logits } = await rows.append([[10], [11, 12, 13, 14]]);
  expectClose(rowOf(logits, 0), (await fullLogits(model, [5, 6, 7], [10]))[1]!, TOLERANCE);
  expectClose(rowOf(logits, 1), (await fullLogits(model, [8, 9, 11, 12, 13], [14]))[1]!, TOLERANCE);
  await rows.append([[20], []]);
  expect(rows.slots.map(({ tokens }) => tokens)).toEqual([
    [5, 6, 7, 10, 20],
    [8, 9, 11, 12, 13, 14],
  ]);
  const next = await rows.append([[21], [15]]);
  expectClose(rowOf(next.logits, 1), (await fullLogits(model, [8, 9, 11, 12, 13, 14], [15]))[1]!, TOLERANCE);
});

test("a prompt goes on from what is held or kept of its first tokens", async () => {
  await using model = await loadModel(golden("llama/model"));
  const random = seededRandom(8);
  const [first, second] = [sentence(random, 20), sentence(random, 10)];
  const { rows } = await Rows.start(model, [first]);
  await rows.append([[30]]);
  const { decoder, slots } = rows;
  const turn = [...first, 31, ...second]; // the answer was rendered otherwise than it was generated
  const { held, of } = decoder.shared(turn);
  expect([held, of]).toEqual([20, slots[0]]);
  const kept = decoder.keep(slots[0]!)!;
  const beside = decoder.admit(turn, { known: decoder.known(of!, held) });
  decoder.release(slots[0]!);
  const behind = decoder.admit(turn, { known: { ...kept, length: held } });
  rows.slots = [beside, behind];
  const { logits } = await rows.append([[], []]);
  const [expected] = await fullLogits(model, turn, []);
  for (const row of [0, 1]) expectClose(rowOf(logits, row), expected!, TOLERANCE);
});

test("rows keep their own choice of experts when others leave, and share only with rows of the same choice", async () => {
  await using base = await loadModel(golden("llama/model"));
  const model = base.withWoven(WOVEN["experts chosen by each row"]!(base));
  const prompts = [
    [5, 6, 7],
    [8, 9],
  ];
  const { rows } = await Rows.start(model, prompts);
  rows.select([1]);
  const { logits } = await rows.append([[10]]);
  expectClose(rowOf(logits, 0), (await fullLogits(model, [8, 9, 10], []))[0]!, TOLERANCE);
  const { rowFeeds } = rows.slots[0]!;
  expect(rows.decoder.shared([8, 9, 10, 11], rowFeeds).held).toBe(3);
  const other = Object.fromEntries(Object.entries(rowFeeds).map(([name, tensor]) => [name, float32(tensor.shape)]));
  expect(rows.decoder.shared([8, 9, 10, 11], other).held).toBe(0);
});

test("PEFT's adapter decodes to the logits PEFT computes", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("t5/golden.safetensors");
  const logits = (await goldenTensors("t5/lora.safetensors")).float("logits");
  const adapter = await loadAdapter(golden("t5/adapter_init"), model.base.modules);
  if (adapter.kind !== "lora") throw new Error("expected a LoRA");
  const decoderIds = expected.int("decoder_input_ids");
  const targets = decoderIds.shape[1]!;
  const adapted = model.withWoven(singleAdapter(adapter, model.base.modules));
  const { rows } = await Rows.start(adapted, rowsOf(expected.int("input_ids"), expected.int("attention_mask")));
  const rest = (row: number) => [...decoderIds.data.subarray(row * targets + 1, (row + 1) * targets)].map(Number);
  const step = await rows.append([0, 1, 2, 3].map(rest));
  for (const row of [0, 1, 2, 3]) expectClose(rowOf(step.logits, row), rowOf(logits, (row + 1) * targets - 1), TOLERANCE);
});

test("a prompt without tokens, of unknown tokens or too long is refused", async () => {
  await using model = await loadModel(golden("gpt2/model"));
  const decoder = await Decoder.open(model);
  decoder.close();
  expect(() => decoder.admit([])).toThrow(ShapeError);
  expect(() => decoder.admit([160])).toThrow("Token id 160");
  expect(() => decoder.admit(Array<number>(10_000).fill(5))).toThrow("positions");
});

test("prompts of an encoder that wait together are encoded in one run", async () => {
  await using model = await loadModel(golden("t5/model"));
  const decoder = await Decoder.open(model);
  const slots = [5, 9, 3].map((length) => decoder.admit(sentence(seededRandom(length), length)));
  await decoder.read();
  expect(decoder.isReading).toBe(false);
  expect(await decoder.decode()).toEqual(slots);
  decoder.close();
});
