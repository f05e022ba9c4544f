import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { DataError } from "../base/errors.ts";
import { Conversation } from "../generation/conversation.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { expertMarker, legend } from "./expert-colors.ts";
import { type TalkOptions, talk } from "./talk.ts";

const TEMPLATE =
  "{% for m in messages %}{% if m.content == 'w9' %}{{ raise_exception('w9 is barred') }}{% endif %}{{ m.role }} {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant {% endif %}";
const WORDS = ["user", "assistant", "hello", ...Array.from({ length: 154 }, (_, i) => `w${i}`)];

let folder: string;
let model: LoadedModel;
let tokenizer: Tokenizer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-talk-"));
  await cp(golden("llama/model"), folder, { recursive: true });
  await writeWordTokenizer(folder, WORDS, { chatTemplate: TEMPLATE });
  model = await loadModel(folder);
  tokenizer = await loadTokenizer(folder);
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true, force: true });
});

/** What is printed when these lines are typed, and the conversation they leave. */
async function talked(typed: string, { json = false, ...options }: Partial<TalkOptions> & { json?: boolean } = {}) {
  const conversation = new Conversation(model, tokenizer, { maxNewTokens: 3, ignoreEos: true });
  let [out, err] = ["", ""];
  const io = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
  };
  const lines = createInterface({ input: Readable.from([typed]) });
  const all: TalkOptions = { conversation, experts: [], shown: false, interactive: false, ...options };
  await talk({ ...io, terminal: false, columns: 80, colors: false }, { json }, lines, all);
  return { out, err, conversation };
}

test("each line is answered, empty ones are passed over, and /quit ends", async () => {
  const { out, err } = await talked("hello\n\n  \nw1\n/quit\nw2\n");
  expect(out.trim().split("\n")).toHaveLength(2);
  expect(err).toBe("");
});

test("lines between three quotes are one message", async () => {
  const quoted = await talked('"""hello\nw1\n w2"""\n');
  const single = await talked("hello w1 w2\n");
  expect(quoted.out).toBe(single.out);
  expect(quoted.conversation.length).toBe(single.conversation.length);
});

test("the second turn reads from the cache all that it holds: the first prompt, and its answer but for the last token", async () => {
  const { out } = await talked("hello w1 w2\nw3\n", { json: true });
  const ends = out
    .split("\n")
    .filter((line) => line.startsWith('{"end"'))
    .map((line) => JSON.parse(line) as Record<string, number>);
  expect(ends).toEqual([
    { end: true, promptTokens: 5, completionTokens: 3, cachedTokens: 0 },
    { end: true, promptTokens: 11, completionTokens: 3, cachedTokens: 5 + 2 },
  ]);
});

test("a command that is none is told, with those there are, and is no message", async () => {
  const { out, err } = await talked("/bye\n/help\n/experts\n");
  expect(out).toBe("");
  expect(err).toMatch(/no command \/bye[\s\S]*\/reset[\s\S]*\/quit[\s\S]*no experts/);
});

test("an error ends a script, but not a person's conversation, which stays as it was", async () => {
  await expect(talked("hello\nw9\n")).rejects.toThrow(DataError);
  const { err, out, conversation } = await talked("hello\nw9\nw1\n", { interactive: true });
  expect(err).toMatch(/w9 is barred/);
  expect(out.trim().split("\n")).toHaveLength(2);
  expect(conversation.usage?.promptTokens).toBe(9); // user hello assistant and three words, user w1 assistant
});

test("a conversation longer than the model was made for is told once", async () => {
  const { err } = await talked("hello\nw1\nw2\n", { longest: 6 });
  expect(err.match(/the model was trained for at most 6/g)).toHaveLength(1);
});

test("without a chat template, or with options that make no sense, nothing is said", () => {
  expect(() => new Conversation(model, { ...tokenizer, chatTemplates: new Map() })).toThrow(/no chat template/);
  expect(() => new Conversation(model, tokenizer, { topP: 3 })).toThrow(/topP/);
});

test("without colors an expert's name stands where it takes over", () => {
  const marked = expertMarker(["law", "code"], { colors: false });
  expect(["a", "", " b", " c"].map((text, i) => marked(text, [0, 1, 0, 1][i]!)).join("")).toBe("[law]a b[code] c");
  expect(legend(["law", "code"], { colors: false })).toBe("law  code");
});
