/** @file An expert that learns chats over a base whose end of sequence is not the template's end of turn, by command lines alone. */

import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { generate } from "../generation/generate.ts";
import { loadModel } from "../library/model.ts";
import { skein } from "./captured-io.test-helper.ts";

// Each word is a token; "over" ends a turn, and is special.
const TEMPLATE =
  "{% if tools %}tools {{ tools | length }} {% endif %}today {{ strftime_now('%d') }} {% for m in messages %}{{ m.role }} {{ m.content }} <over> {% endfor %}{% if add_generation_prompt %}assistant {% endif %}";
const WORDS = [
  ..."system user assistant tools today red blue one two 1 2 05 06".split(" "),
  ...Array.from({ length: 143 }, (_, i) => `w${i}`),
];

let folder: string;
const at = (name: string) => join(folder, name);
const turn = (role: string, content: string, more = {}) => ({ role, content, ...more });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-chat-training-"));
  await cp(golden("llama/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), WORDS, { chatTemplate: TEMPLATE, special: ["<over>"] });
  const rows = [
    { id: 1, messages: [turn("user", "red"), turn("assistant", "one"), turn("user", "blue"), turn("assistant", "two", { weight: 0 })] },
    { id: 2, messages: [turn("user", "blue"), turn("assistant", "two")] },
  ];
  await writeFile(at("chats.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const train = (...more: readonly string[]) => {
  const data = ["--base", at("base"), "--data", at("chats.jsonl"), "--out", at("expert"), "--steps", "60", "--batch-size", "2"];
  return skein("train", ...data, ..."--rank 8 --alpha 16 --lr 0.02 --max-length 64 --seed 3 --save-every 10".split(" "), ...more);
};

test("training shows what is learned, and names what is not", async () => {
  const { code, err } = await train("--date", "2026-03-05");
  expect(code).toBe(0);
  expect(err).toContain("are skipped: id (rows: 2).");
  expect(err).toContain("Loss falls on 2 answers: 4 of 16 tokens.");
  expect(err).toMatch(/Row 1, learned in \[\[ \]\]: .*today.*05.*user.*red.*assistant\[\[ ?one ?<over>\]\]\n/);
  expect(err).not.toContain("Row 2");
});

test("a run whose template writes the date goes on with the date it began with, and refuses another", async () => {
  expect(JSON.parse(await readFile(at("expert.run/config.json"), "utf8"))).toMatchObject({ date: "2026-03-05T00:00:00" });
  expect(await train()).toMatchObject({ code: 0 });
  const { code, err } = await train("--date", "2026-03-06");
  expect(code).toBe(1);
  expect(err).toContain('date was "2026-03-05T00:00:00", now "2026-03-06T00:00:00"');
});

test("--show-labels shows as many rows as it says", async () => {
  const { err } = await train("--show-labels", "2", "--date", "2026-03-05");
  expect(err).toMatch(/Row 1, learned[^\n]*\nRow 2, learned[^\n]*two ?<over>\]\]/);
  expect((await train("--show-labels", "0", "--date", "2026-03-05")).err).not.toContain("learned in");
});

test("the expert records the end it learned and ends there, also over a base that lost its template", async () => {
  const record = JSON.parse(await readFile(at("expert/turn_end.json"), "utf8"));
  expect(record).toEqual({ ids: [3], tokens: [expect.stringContaining("<over>")] });
  await cp(at("base"), at("plain"), { recursive: true });
  await writeWordTokenizer(at("plain"), WORDS, { special: ["<over>"] });
  await using model = await loadModel(at("plain"), { adapter: at("expert") });
  const prompt = "today 05 user blue <over> assistant";
  for await (const event of generate(model, await model.base.tokenizer(), prompt, { maxNewTokens: 6 })) {
    if (event.kind === "completion") expect(event).toMatchObject({ text: expect.stringMatching(/^ ?two$/), finishReason: "stop" });
  }
});

test("evaluation of chats writes tools and date into the prompt, and stops at the end of the turn", async () => {
  const row = { messages: [turn("user", "blue"), turn("assistant", "two")], tools: [{ type: "function", function: { name: "f" } }] };
  await writeFile(at("asked.jsonl"), JSON.stringify(row));
  const evaluated = await skein(
    "eval",
    at("asked.jsonl"),
    "--base",
    at("base"),
    "--methods",
    "base",
    "--out",
    at("ev"),
    "--date",
    "2026-03-05",
  );
  expect(evaluated.code).toBe(0);
  const samples = (await readdir(at("ev/base"))).find((name) => name.startsWith("samples_"))!;
  expect(await readFile(at(`ev/base/${samples}`), "utf8")).toContain("tools 1 today 05 user blue <over> assistant ");
});
