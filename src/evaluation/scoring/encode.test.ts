import { expect, test } from "vitest";
import { golden } from "../../../tests/golden.ts";
import { loadTokenizer } from "../../text/load-tokenizer.ts";
import { encodeAnswer, encodeContext } from "./encode.ts";

const tokenizer = await loadTokenizer(golden("tokenizers/tinystories"));
const { eosId } = tokenizer;

test("a decoder-only model's answer has the tokens that it has in the whole text", () => {
  for (const [prompt, answer] of [
    ["Once upon a time", " there was a cat."],
    ["Once upon a time\n", "there was a cat."],
  ] as const) {
    const kind = "decoder-only";
    const ids = [...encodeContext(tokenizer, { kind }, prompt), ...encodeAnswer(tokenizer, { kind }, { prompt, answer })];
    expect(ids).toEqual([...tokenizer.encode(prompt + answer), eosId]);
  }
});

test("an encoder-decoder model's answer is read on its own", () => {
  const ids = encodeAnswer(tokenizer, { kind: "encoder-decoder" }, { prompt: "Once\n", answer: "there" });
  expect(ids).toEqual([...tokenizer.encode("there", { addSpecialTokens: false }), eosId]);
});
