import { expect, test } from "vitest";
import { chatTokenizer } from "../../tests/chat-tokenizer.ts";
import { answerIds, promptIds } from "./prompt-ids.ts";
import { throughTurnEnd, turnEndIds } from "./turn-end.ts";

const CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
const special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const tokenizer = chatTokenizer(CHATML, { special, names: { eos: "<|endoftext|>" } });

test("the end of a turn is the template's, whatever the end of sequence is", () => {
  expect(turnEndIds(tokenizer)).toEqual([258]);
  const plain = chatTokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", { special });
  expect(turnEndIds(plain)).toEqual([]);
  expect(turnEndIds({ ...plain, chatTemplates: new Map() })).toEqual([]);
  expect(turnEndIds(chatTokenizer("{{ raise_exception('no') }}", { special }))).toEqual([]);
});

test("a token that is a sign by its spelling ends a turn too, where the tokenizer does not call it special", () => {
  const gemma = chatTokenizer("{% for m in messages %}{{ m.content }}<end_of_turn>\n{% endfor %}", { special: ["<end_of_turn>"] });
  const unmarked = { ...gemma, decode: (ids: readonly number[]) => gemma.decode(ids) };
  expect(turnEndIds(unmarked)).toEqual([256]);
});

test("an answer goes through the end of its turn; an end within it stays", () => {
  const cut = (text: string) => tokenizer.decode(throughTurnEnd(tokenizer, tokenizer.encode(text)));
  expect(cut("x<|im_end|>\n")).toBe("x<|im_end|>");
  expect(cut("x<|im_end|>\n<|endoftext|>")).toBe("x<|im_end|>");
  expect(cut("a <|im_end|> b<|im_end|>\n")).toBe("a <|im_end|> b<|im_end|>");
  expect(cut("a <|im_end|> b")).toBe("a <|im_end|> b");
});

test("an end that a person typed stays in the prompt; only one that the tokenizer adds is taken off", () => {
  const prompt = "Q: hi<|endoftext|>";
  const typed = tokenizer.encode(prompt);
  expect(promptIds(tokenizer, "decoder-only", prompt)).toEqual(typed);
  expect(answerIds(tokenizer, { prompt, answer: "yes", joined: true })).toEqual(tokenizer.encode("yes"));
  const adding = { ...tokenizer, encode: (text: string) => [...tokenizer.encode(text), 256] };
  expect(promptIds(adding, "decoder-only", prompt)).toEqual(typed);
});
