/** @file Training from a large file: the same numbers as from memory, resumed or not. */

import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden, maxDifference } from "../../tests/golden.ts";
import { rejection } from "../../tests/temporary-folder.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { type ExampleFile, openTrainingExamples } from "../data/example-file.ts";
import { readTrainingExamples, type TrainingExample } from "../data/training-data.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { ExampleStream } from "./example-stream.ts";
import type { LoopHooks } from "./loop.ts";
import { trainExpert } from "./train.ts";

const WORDS = "red green blue one two three".split(" ");
const OPTIONS = {
  steps: 7,
  batchSize: 4,
  microBatchSize: 2,
  rank: 2,
  lr: 0.01,
  dropout: 0.1,
  maxLength: 16,
  saveEvery: 3,
  validateEvery: 2,
};

let folder: string;
let model: LoadedModel;
let llama: LoadedModel;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-stream-"));
  for (const name of ["t5", "llama"]) {
    await cp(golden(`${name}/model`), at(name), { recursive: true });
    const chat = "{% for m in messages %}{{ m.content }} <over> {% endfor %}";
    await writeWordTokenizer(at(name), WORDS, name === "t5" ? { appendEnd: true } : { chatTemplate: chat, special: ["<over>"] });
  }
  model = await loadModel(at("t5"));
  llama = await loadModel(at("llama"));
  const rows = Array.from({ length: 11 }, (_, i) => ({ input: words(i, 1 + (i % 5)), target: words(3 * i, 2) }));
  await writeRows("pairs.jsonl", rows);
});
afterAll(async () => {
  await model.dispose();
  await llama.dispose();
  await rm(folder, { recursive: true, force: true });
});

const words = (first: number, count: number) => Array.from({ length: count }, (_, i) => WORDS[(first + i) % WORDS.length]).join(" ");
const writeRows = (name: string, rows: readonly unknown[]) => writeFile(at(name), rows.map((row) => JSON.stringify(row)).join("\n"));

async function large(name: string, check = false): Promise<ExampleFile> {
  const file = await openTrainingExamples(at(name), { largeFrom: 0, check });
  if (!("close" in file)) throw new Error("read whole");
  return file;
}

interface Attempt {
  readonly on?: LoadedModel;
  readonly run?: string;
  readonly hooks?: LoopHooks;
  readonly options?: object;
  readonly onWarning?: (message: string) => void;
}
async function learned(training: readonly TrainingExample[] | ExampleFile, { on = model, run, options, ...more }: Attempt = {}) {
  const tokenizer = await on.tokenizer();
  const validation = (await readTrainingExamples(at("pairs.jsonl"))).slice(0, 3);
  const job = { model: on, tokenizer, training, validation, options: { ...OPTIONS, ...options }, ...(run && { run: at(run) }), ...more };
  return (await trainExpert(job)) as LoraAdapter;
}

function expectSame(a: LoraAdapter, b: LoraAdapter): void {
  expect(a.modules.size).toBe(b.modules.size);
  for (const [module, { a: first, b: second }] of a.modules) {
    expect(maxDifference(first, b.modules.get(module)!.a)).toBe(0);
    expect(maxDifference(second, b.modules.get(module)!.b)).toBe(0);
  }
  expect(a.turnEnds).toEqual(b.turnEnds);
}

test("a file that is read row by row trains the same expert as its examples in memory", async () => {
  await using file = await large("pairs.jsonl");
  const inMemory = await learned(await readTrainingExamples(at("pairs.jsonl")));
  expectSame(await learned(file), inMemory);
  await using first = await large("pairs.jsonl", true);
  expectSame(await learned(first), inMemory);
});

test.each([false, true])("a run that died goes on with the rows that it had not learned (packing: %s)", async (packing) => {
  const chat = (question: string, answer: string) => ({
    messages: [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ],
  });
  const rows = Array.from({ length: 9 }, (_, i) => (i % 3 === 0 ? { text: words(i, 3) } : chat(words(i, 2), words(i, 1 + (i % 2)))));
  await writeRows("mixed.jsonl", rows);
  const options = { packing, maxLength: 24 };
  await using file = await large("mixed.jsonl");
  const whole = await learned(file, { on: llama, options, run: `whole-${packing}` });
  expect(whole.turnEnds).toHaveLength(1);
  const onProgress = ({ step }: { step: number }) => {
    if (step === 5) throw new Error("power cut");
  };
  const run = `died-${packing}`;
  await expect(learned(file, { on: llama, options, run, hooks: { onProgress } })).rejects.toThrow("power cut");
  await using again = await large("mixed.jsonl");
  expectSame(await learned(again, { on: llama, options, run }), whole);
});

test("rows with nothing left to learn are passed over, counted, and refused when there are no others", async () => {
  const long = { input: words(0, 30), target: "one" };
  await writeRows("cut.jsonl", [
    { text: "red green" },
    {
      messages: [
        { role: "user", content: "red" },
        { role: "assistant", content: "one", weight: 0 },
      ],
    },
    long,
  ]);
  await using file = await large("cut.jsonl");
  const warnings: string[] = [];
  await learned(file, { on: llama, options: { maxLength: 8, steps: 2 }, onWarning: (warning) => warnings.push(warning) });
  expect(warnings.join("\n")).toMatch(
    /\d+ of \d+ examples were longer than 8 tokens and were cut\.\n\d+ rows with nothing to be learned: left out\./,
  );
  await writeRows("barren.jsonl", [
    {
      messages: [
        { role: "user", content: "red" },
        { role: "assistant", content: "one", weight: 0 },
      ],
    },
  ]);
  await using barren = await large("barren.jsonl");
  expect(await rejection(learned(barren, { on: llama }))).toMatchObject({ code: "data-empty-answer" });
});

test("a bad row that a step meets first stops the training with an error that names all of them", async () => {
  const good = Array.from({ length: 40 }, (_, i) => ({ input: words(i, 2), target: "one" }));
  const rows: unknown[] = [...good, { input: "red" }, ...good, { input: 3, target: "one" }, { text: "red" }];
  await writeRows("bad.jsonl", rows);
  for (const check of [false, true]) {
    await using file = await large("bad.jsonl", check);
    expect(await rejection(learned(file, { run: `bad-${check}`, options: { steps: 60 } }))).toMatchObject({
      where: `${at("bad.jsonl")}, line 41`,
      what: expect.stringMatching(/2 more rows have problems: line 82, line 83\.$/),
    });
  }
});

test("other rows, or another file for validation, are other data for a run", async () => {
  await using file = await large("pairs.jsonl");
  await learned(file, { run: "data", options: { steps: 1 } });
  await writeRows("other.jsonl", [{ input: "red", target: "one" }]);
  await using other = await large("other.jsonl");
  await expect(learned(other, { run: "data", options: { steps: 1 } })).rejects.toThrow("the examples are others");
});

test("a place in the order is found again within a row of several sequences", async () => {
  const turns = (text: string) => [
    { role: "user", content: "red" },
    { role: "assistant", content: text },
  ];
  // A template that drops earlier answers: each turn needs a sequence of its own.
  const template = "{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.content }} <over> {% endif %}{% endfor %}";
  await cp(golden("llama/model"), at("drops"), { recursive: true });
  await writeWordTokenizer(at("drops"), WORDS, { chatTemplate: template, special: ["<over>"] });
  await writeRows("turns.jsonl", [{ messages: [...turns("one"), ...turns("two"), ...turns("three")] }, { messages: turns("blue") }]);
  const drops = await loadModel(at("drops"));
  await using file = await large("turns.jsonl");
  const open = async () =>
    new ExampleStream(file, {
      maxInput: 16,
      maxTarget: 16,
      tokenizer: await drops.tokenizer(),
      architecture: drops.base.architecture,
      seed: 1,
    });
  const stream = await open();
  const ids: string[] = [];
  const places: string[] = [];
  for (let i = 0; i < 8; i++) {
    places.push(stream.place);
    ids.push(JSON.stringify(await stream.next(1)));
  }
  expect(new Set(ids.slice(0, 4)).size).toBe(4);
  for (const [i, place] of places.entries()) {
    const again = await open();
    again.seek(place);
    expect(JSON.stringify(await again.next(1))).toBe(ids[i]);
  }
  await drops.dispose();
});
