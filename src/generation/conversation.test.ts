import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { renderChat } from "../text/chat.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { Conversation } from "./conversation.ts";

const TEMPLATE =
  "{% for message in messages %}{{ message.role }} {{ message.content }} {% endfor %}{% if add_generation_prompt %}assistant {% endif %}";
// The tiny model has 160 tokens; every one reads as a word, so that its answers survive the way through text.
const WORDS = ["system", "user", "assistant", "hello", "again", ...Array.from({ length: 152 }, (_, i) => `w${i}`)];

let folder: string;
let model: LoadedModel;
let tokenizer: Tokenizer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-chat-"));
  await cp(golden("llama/model"), folder, { recursive: true });
  await writeWordTokenizer(folder, WORDS, { chatTemplate: TEMPLATE });
  model = await loadModel(folder);
  tokenizer = await loadTokenizer(folder);
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true, force: true });
});

async function answerOf(conversation: Conversation, content: string, signal?: AbortSignal): Promise<string> {
  let text = "";
  for await (const piece of conversation.answer(content, signal)) text += piece.text;
  return text;
}
/** The greedy answer to a whole conversation by full forwards, without any cache. */
async function uncached(messages: readonly { role: string; content: string }[], count: number): Promise<string> {
  const ids = tokenizer.encode(renderChat(tokenizer, messages, { addGenerationPrompt: true }), { addSpecialTokens: false });
  const start = ids.length;
  while (ids.length < start + count) {
    const inputIds = { dtype: "int64", shape: [1, ids.length], data: BigInt64Array.from(ids, BigInt) } as const;
    const { data } = (await model.forward({ inputIds })).logits;
    const last = data.subarray(data.length - 160);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return tokenizer.decode(ids.slice(start), { skipSpecialTokens: true });
}

test("each turn is answered as if the whole conversation were read anew", async () => {
  const conversation = new Conversation(model, tokenizer, { system: "w1", maxNewTokens: 6, ignoreEos: true });
  const messages = [{ role: "system", content: "w1" }];
  for (const content of ["hello", "again w5"]) {
    messages.push({ role: "user", content });
    const answer = await answerOf(conversation, content);
    expect(answer.trim()).toBe((await uncached(messages, 6)).trim());
    messages.push({ role: "assistant", content: answer });
  }
});

test("reset forgets the turns but not the system message", async () => {
  const conversation = new Conversation(model, tokenizer, { system: "w1", maxNewTokens: 4 });
  const first = await answerOf(conversation, "hello");
  await answerOf(conversation, "again");
  conversation.reset();
  expect(await answerOf(conversation, "hello")).toBe(first);
});

test("an answer that is broken off ends quietly", async () => {
  const conversation = new Conversation(model, tokenizer, { maxNewTokens: 50, ignoreEos: true });
  const stop = new AbortController();
  const pieces: string[] = [];
  for await (const { text } of conversation.answer("hello", stop.signal)) if (pieces.push(text) === 3) stop.abort();
  expect(pieces).toHaveLength(3);
});
