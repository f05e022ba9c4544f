import { expect, test } from "vitest";
import { chatTokenizer } from "../../../tests/chat-tokenizer.ts";
import { untilTexts } from "./until.ts";

const tokenizer = chatTokenizer("", { special: ["<|im_end|>"] });

// The texts are lm-evaluation-harness's: it stops on the text with special tokens and cuts the text without.
test.each([
  [["<|im_end|>"], "x<|im_end|>", "x"],
  [["<|im_end|>\nQ"], "x y<|im_end|>\nQ", "x y"],
  [["y<|im_end|>"], "x y<|im_end|>", "x "],
  [["\n"], "a<|im_end|>b\nc", "ab"],
  [["q"], "a<|im_end|>b", undefined],
  [[], "a", undefined],
])("until %j of %j", (until, text, expected) => {
  const texts = untilTexts(tokenizer, until);
  const ids = tokenizer.encode(text);
  expect(texts.isOver(ids)).toBe(expected !== undefined);
  expect(texts.textOf(ids)).toBe(expected ?? text.replaceAll("<|im_end|>", ""));
  if (expected !== undefined) expect(texts.isOver(ids.slice(0, -1))).toBe(text.endsWith("\nc"));
});
