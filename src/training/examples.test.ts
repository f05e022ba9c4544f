import { describe, expect, test } from "vitest";
import { byteTokenizer } from "../../tests/byte-tokenizer.ts";
import { golden, maxDifference } from "../../tests/golden.ts";
import { differentiated, packedForward } from "../../tests/gradients.ts";
import { rejection, temporaryFolder } from "../../tests/temporary-folder.ts";
import { seededRandom } from "../base/random.ts";
import { type HostTensor, int64 } from "../base/tensor.ts";
import { alpacaPrompt } from "../data/chat-data.ts";
import { readTrainingExamples, type TrainingExample } from "../data/training-data.ts";
import { openBase } from "../inference/base.ts";
import type { Model } from "../inference/model.ts";
import { loadModel } from "../library/model.ts";
import type { ChatMessage } from "../text/chat.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { collate, type Encoded, type TrainingBatch } from "./batches.ts";
import { encoded } from "./encoded.ts";
import { encodeExamples } from "./examples.ts";
import { adapterLearner, freshLora } from "./learner.ts";
import { IGNORED } from "./loss.ts";
import { packed } from "./packing.ts";
import { expertRecipe, parseRecipe } from "./recipe.ts";
import { targetModules } from "./train.ts";

const LIMITS = { maxInput: 64, maxTarget: 64 };
const CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}";
const withGeneration = `${CHATML}{% if add_generation_prompt %}<assistant>{% endif %}`;

const turn = (role: ChatMessage["role"], content: string): ChatMessage => ({ role, content });
async function tokenizerWithChat(): Promise<Tokenizer> {
  return { ...(await loadTokenizer(golden("tokenizers/tinystories"))), chatTemplates: new Map([["default", withGeneration]]) };
}
async function llama(): Promise<Model> {
  return loadModel(golden("llama/model"));
}

describe("what is learned of an example", () => {
  /** The texts with loss; an end token is shown as "$". */
  async function learned(example: TrainingExample): Promise<string> {
    const [model, tokenizer] = [await llama(), await tokenizerWithChat()];
    const { examples } = encodeExamples([example], tokenizer, model.base.architecture, LIMITS);
    const { inputs, labels } = examples[0]!;
    // Every label is the next token of the row.
    labels.slice(0, -1).forEach((label, i) => {
      if (label !== IGNORED) expect(label).toBe(inputs[i + 1]);
    });
    return labels.map((id) => (id === IGNORED ? "_" : id === tokenizer.eosId ? "$" : tokenizer.tokenText(id))).join("");
  }

  test("of a pair the target and its end, none of the input", async () => {
    expect((await learned({ kind: "pair", input: "Once upon a time", target: "there was a cat." })).replace(/^_+/, "")).toBe(
      " there was a cat.$",
    );
  });

  test("a target that opens with a space follows the input's last word with that one space", async () => {
    const [input, target] = ["Once upon a time", " there was a cat."];
    expect((await learned({ kind: "pair", input, target })).replace(/^_+/, "")).toBe(" there was a cat.$");
    const tokenizer = await tokenizerWithChat();
    const { architecture } = (await llama()).base;
    const [{ inputs }] = encodeExamples([{ kind: "pair", input, target }], tokenizer, architecture, LIMITS).examples as [Encoded];
    expect(inputs).toEqual(tokenizer.encode(input + target));
  });

  test("of a prompt and its completion the tokens of the whole text", async () => {
    const { architecture } = (await llama()).base;
    const tokenizer = await tokenizerWithChat();
    const [input, target] = ["Once upon a time:", "there was a cat."];
    const { examples } = encodeExamples([{ kind: "pair", input, target, joined: true }], tokenizer, architecture, LIMITS);
    expect(examples[0]!.inputs).toEqual(tokenizer.encode(input + target));
  });

  test("of a conversation the assistant's turns, each with its end", async () => {
    const messages = [turn("user", "One day"), turn("assistant", "a girl"), turn("user", "She"), turn("assistant", "was happy")];
    expect((await learned({ kind: "messages", messages })).split(/_+/).filter(Boolean)).toEqual(["a girl$", "was happy$"]);
  });

  test("of an Alpaca row, for a model without a chat template, the output behind Alpaca's prompt", async () => {
    const { architecture } = (await llama()).base;
    const tokenizer = await loadTokenizer(golden("tokenizers/tinystories"));
    const messages = [turn("user", "Go"), turn("assistant", "a girl went")];
    const limits = { maxInput: 500, maxTarget: 1 };
    const { examples } = encodeExamples([{ kind: "messages", messages, prompt: alpacaPrompt("Go") }], tokenizer, architecture, limits);
    const [{ inputs, labels }] = examples as [Encoded];
    expect(inputs).toEqual(tokenizer.encode(`${alpacaPrompt("Go")}a girl went`));
    expect(tokenizer.decode(labels.filter((id) => id !== IGNORED && id !== tokenizer.eosId))).toContain("a girl went");
    expect(() => encodeExamples([{ kind: "messages", messages }], tokenizer, architecture, limits)).toThrow(/chat template/);
    // If the row is too long, the prompt is cut and the answer stays.
    const short = encodeExamples([{ kind: "messages", messages, prompt: alpacaPrompt("Go") }], tokenizer, architecture, LIMITS);
    expect(short).toMatchObject({ truncated: 1, emptied: 0 });
    expect(short.examples[0]!.labels.at(-1)).toBe(tokenizer.eosId);
  });

  test("of a text all of it", async () => {
    expect(await learned({ kind: "text", text: "One day a cat sat." })).toBe(" One day a cat sat.$");
  });

  test("a prompt that is too long gives way at its beginning", async () => {
    const [model, tokenizer] = [await llama(), await tokenizerWithChat()];
    const long: TrainingExample = { kind: "pair", input: "once upon a time ".repeat(40).trim(), target: "the end" };
    const { examples, truncated, emptied } = encodeExamples([long], tokenizer, model.base.architecture, LIMITS);
    expect({ truncated, emptied }).toEqual({ truncated: 1, emptied: 0 });
    expect(examples[0]!.inputs).toHaveLength(64);
    expect(examples[0]!.labels.filter((id) => id !== IGNORED)).toEqual([
      ...tokenizer.encode("the end", { addSpecialTokens: false }),
      tokenizer.eosId,
    ]);
  });

  test("a conversation cut before the assistant speaks is left out and counted", async () => {
    const [model, tokenizer] = [await llama(), await tokenizerWithChat()];
    const talk = (content: string): TrainingExample => ({
      kind: "messages",
      messages: [
        { role: "user", content },
        { role: "assistant", content: "yes" },
      ],
    });
    const long = talk("once upon a time ".repeat(40));
    const set = encodeExamples([long, talk("a")], tokenizer, model.base.architecture, LIMITS);
    expect(set).toMatchObject({ truncated: 1, emptied: 1 });
    expect(set.examples).toHaveLength(1);
    expect(() => encodeExamples([long], tokenizer, model.base.architecture, LIMITS)).toThrow(/anything left to learn/);
  });
});

describe("an encoder-decoder model", () => {
  const tokenizer = byteTokenizer();
  const LONG = { maxInput: 512, maxTarget: 64 };
  const { write } = temporaryFolder();
  async function learned(...rows: readonly unknown[]) {
    const { architecture } = await openBase(golden("t5/model"));
    const examples = await readTrainingExamples(await write("rows.json", JSON.stringify(rows)));
    const set = encodeExamples(examples, tokenizer, architecture, LONG);
    return set.examples.map(({ inputs, labels }) => [inputs, labels].map((ids) => tokenizer.decode(ids)));
  }

  test("learns Alpaca rows by Alpaca's prompt, and a chat of one question as that question and its answer", async () => {
    const chat = [turn("system", "s"), turn("user", "q"), turn("assistant", "a")];
    const pairs = await learned(
      { instruction: "Add", input: "1 2", output: "3" },
      { instruction: "Add", output: "3", system: "s" },
      { messages: chat.slice(1) },
      { messages: chat },
    );
    expect(pairs).toEqual([
      [alpacaPrompt("Add", "1 2"), "3"],
      [`s\n\n${alpacaPrompt("Add")}`, "3"],
      ["q", "a"],
      ["s\n\nq", "a"],
    ]);
  });

  test.each([
    ["user, assistant, user, assistant", { instruction: "i", output: "o", history: [["q", "a"]] }],
    ["user, user, assistant", { messages: [turn("user", "q"), turn("user", "q"), turn("assistant", "a")] }],
    ["user, assistant", { messages: [turn("user", "q"), turn("assistant", "a")], tools: [{ name: "f" }] }],
  ])("refuses a longer chat by its place and roles: %s", async (roles, row) => {
    const error = await rejection(learned({ input: "i", target: "t" }, row));
    expect(error).toMatchObject({
      name: "DataError",
      what: expect.stringContaining(`(roles: ${roles})`),
      where: expect.stringMatching(/rows\.json, item 2$/),
    });
  });
});

/** Sequences of random tokens whose first third is a prompt. */
function sequences(lengths: readonly number[]): Encoded[] {
  const random = seededRandom(7);
  return lengths.map((length) => {
    const ids = Array.from({ length: length + 1 }, () => random.integer(60));
    return { inputs: ids.slice(0, -1), labels: ids.slice(1).map((id, i) => (i < length / 3 ? IGNORED : id)) };
  });
}

function learnerOf(model: Model) {
  const targets = targetModules(model.base, undefined);
  const adapter = freshLora(model.base.modules, { targets, rank: 4, scaling: 2, seed: 5 });
  const random = seededRandom(9);
  // B starts at 0, which would hide every gradient of A.
  for (const { b } of adapter.modules.values()) b.data.set(b.data.map(() => 0.05 * random.normal()));
  return adapterLearner(model.base, adapter);
}

/** Losses of the real targets, in the examples' order. */
const lossesOf = ({ data }: HostTensor<"float32">): number[] => [...data].filter((loss) => loss !== 0);

const PACKABLE = [
  "llama/model",
  "qwen2/model",
  "gpt2/model",
  "phi3/model",
  "qwen/model",
  "decoders/mistral_window",
  "decoders/gemma2",
  "decoders/gemma3_text",
];

test.each(PACKABLE)("%s: packed rows give the losses and gradients of separate ones", async (name) => {
  await using model = await loadModel(golden(name));
  const examples = sequences([11, 17, 5, 13, 3, 9]);
  const rows = packed(examples, 32);
  expect(rows.map(({ documents }) => new Set(documents).size)).toEqual([3, 3]);
  const learner = learnerOf(model);
  const apart = await differentiated(model, learner, collate(examples, model.base.architecture));
  const together = await differentiated(model, learner, collate(rows, model.base.architecture), packedForward);
  // First fit keeps the order here, except for the third example, which fills the first row.
  const order = rows.flatMap((row) =>
    [...new Set(row.documents)].map((document) => row.inputs.filter((_, i) => row.documents![i] === document)),
  );
  const placed = order.map((inputs) => examples.findIndex((example) => String(example.inputs) === String(inputs)));
  const separate = await differentiated(
    model,
    learner,
    collate(
      placed.map((i) => examples[i]!),
      model.base.architecture,
    ),
  );
  const [expected, found] = [lossesOf(separate.perToken), lossesOf(together.perToken)];
  expect(found).toHaveLength(expected.length);
  found.forEach((loss, i) => {
    expect(Math.abs(loss - expected[i]!)).toBeLessThan(1e-5 * Math.max(1, expected[i]!));
  });
  expect(together.loss).toBeCloseTo(apart.loss, 5);
  for (const [parameter, gradient] of apart.gradients)
    expect(maxDifference(together.gradients.get(parameter)!, gradient), parameter).toBeLessThan(1e-5);
});

test.each(PACKABLE)("%s: the side of the padding changes neither loss nor gradients", async (name) => {
  await using model = await loadModel(golden(name));
  const right = collate(sequences([11, 17, 5, 13]), model.base.architecture);
  const learner = learnerOf(model);
  const [a, b] = [await differentiated(model, learner, right), await differentiated(model, learner, leftPadded(right))];
  expect(b.loss).toBeCloseTo(a.loss, 5);
  for (const [parameter, gradient] of a.gradients)
    expect(maxDifference(b.gradients.get(parameter)!, gradient), parameter).toBeLessThan(1e-5);
});

/** Rotates each row until its padding is on the left. */
function leftPadded({ feeds, sizes }: TrainingBatch): TrainingBatch {
  const mask = feeds.attention_mask!;
  const width = mask.shape[1]!;
  const turned = (tensor: HostTensor) => {
    const rows = Array.from({ length: mask.shape[0]! }, (_, row) => {
      const values = [...(tensor.data as BigInt64Array)].slice(row * width, (row + 1) * width);
      const padding = [...(mask.data as BigInt64Array)].slice(row * width, (row + 1) * width).filter((real) => real === 0n).length;
      return [...values.slice(width - padding), ...values.slice(0, width - padding)];
    });
    return int64(mask.shape, BigInt64Array.from(rows.flat()));
  };
  return { feeds: Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, turned(tensor)])), sizes };
}

test("a text longer than the model's learned positions is cut to them, with a warning", async () => {
  await using model = await loadModel(golden("gpt2/model"));
  const warnings: string[] = [];
  const job = { model, tokenizer: byteTokenizer(160), onWarning: (warning: string) => warnings.push(warning) };
  const [example] = encoded(job, [{ kind: "text", text: "a".repeat(300) }], parseRecipe(expertRecipe, { maxLength: 200 }));
  expect(example!.inputs).toHaveLength(128);
  expect(warnings).toEqual(["1 of 1 examples were longer than 128 tokens and were cut."]);
});
