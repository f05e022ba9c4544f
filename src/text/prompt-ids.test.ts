import { describe, expect, test } from "vitest";
import { byteTokenizer } from "../../tests/byte-tokenizer.ts";
import { golden, shared } from "../../tests/golden.ts";
import { loadTokenizer } from "./load-tokenizer.ts";
import { answerIds, promptIds, withoutEnd } from "./prompt-ids.ts";

const tokenizer = byteTokenizer(); // ends every text with id 1

test("a decoder-only model goes on from its prompt, an encoder reads its end", () => {
  expect(promptIds(tokenizer, "decoder-only", "ab")).toEqual([100, 101]);
  expect(promptIds(tokenizer, "encoder-decoder", "ab")).toEqual([100, 101, 1]);
});

test("an empty prompt starts with the token that texts start with", () => {
  expect(promptIds(tokenizer, "decoder-only", "")).toEqual([1]);
  expect(promptIds({ ...tokenizer, bosId: 2 }, "decoder-only", "")).toEqual([2]);
});

describe("an answer behind a prompt", () => {
  const SENTENCEPIECE = ["llama-2", "tinyllama", "mistral-7b-v0.3", "phi-3-mini"];
  const TOKENIZERS: readonly [name: string, folder: string | undefined][] = [
    ["tinystories", golden("tokenizers/tinystories")],
    ...[...SENTENCEPIECE, "gpt2"].map((name): [string, string | undefined] => [name, shared(`tokenizers/${name}`)]),
  ];

  for (const [name, folder] of TOKENIZERS) {
    test.skipIf(folder === undefined)(`${name}: has the tokens of the whole text${folder ? "" : " (skipped: not here)"}`, async () => {
      const tokenizer = await loadTokenizer(folder!);
      for (const [prompt, answer] of [
        ["Once upon a time", " there was a cat."],
        ["Once upon a time:\n", "there was a cat."],
        ["Once upon a time", "\nthere was a cat."],
        ["### Response:", "there was a cat."],
      ] as const) {
        const ids = [...withoutEnd(tokenizer.encode(prompt), tokenizer), ...answerIds(tokenizer, { prompt, answer, joined: true })];
        expect(ids, prompt + answer).toEqual(tokenizer.encode(prompt + answer));
      }
    });

    test.skipIf(folder === undefined)(`${name}: makes one space of a prompt's last${folder ? "" : " (skipped: not here)"}`, async () => {
      const tokenizer = await loadTokenizer(folder!);
      const [prompt, answer] = ["Tell: ", "there was a cat."];
      const ids = [...tokenizer.encode(prompt, { addSpecialTokens: false }), ...answerIds(tokenizer, { prompt, answer })];
      expect(tokenizer.decode(ids).trimStart()).toBe(prompt + answer);
    });
  }

  test("is read on its own where no white space stands between them and nothing says that they are one text", async () => {
    const tokenizer = await loadTokenizer(golden("tokenizers/tinystories"));
    const own = tokenizer.encode("there", { addSpecialTokens: false });
    expect(answerIds(tokenizer, { prompt: "Once", answer: "there" })).toEqual(own);
    expect(answerIds(tokenizer, { prompt: "", answer: "there", joined: true })).toEqual(own);
    expect(answerIds(tokenizer, { prompt: "Once", answer: "there", joined: true })).not.toEqual(own);
  });
});
