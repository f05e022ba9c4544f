import { expect, test } from "vitest";
import { byteTokenizer } from "../../tests/byte-tokenizer.ts";
import { promptIds } from "./prompt-ids.ts";

const tokenizer = byteTokenizer(); // ends every text with id 1

test("a decoder-only model goes on from its prompt, an encoder reads its end", () => {
  expect(promptIds(tokenizer, "decoder-only", "ab")).toEqual([100, 101]);
  expect(promptIds(tokenizer, "encoder-decoder", "ab")).toEqual([100, 101, 1]);
});

test("an empty prompt starts with the token that texts start with", () => {
  expect(promptIds(tokenizer, "decoder-only", "")).toEqual([1]);
  expect(promptIds({ ...tokenizer, bosId: 2 }, "decoder-only", "")).toEqual([2]);
});
