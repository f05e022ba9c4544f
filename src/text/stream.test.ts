import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { cleanUpSpaces, settledLength } from "./clean-up.ts";
import { loadTokenizer } from "./load-tokenizer.ts";
import { textStream } from "./stream.ts";
import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

const folder = (name: string): string => new URL(`../../tests/golden/${name}`, import.meta.url).pathname;
let llama: Tokenizer;
let qwen: Tokenizer;
beforeAll(async () => {
  llama = await loadTokenizer(folder("tokenizers/tinystories"));
  qwen = await loadTokenizer(folder("qwen_tokenizer"));
});

function pieces(tokenizer: Tokenizer, ids: readonly number[], options?: DecodeOptions): string[] {
  const stream = textStream(tokenizer, options);
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

const words = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "Once",
        " upon",
        " a",
        "  ",
        "\n",
        " n't",
        " ' ",
        " 's",
        " .",
        "<s>",
        "</s>",
        "<|im_end|>",
        "é",
        "😀",
        "中文",
        "👩‍👩‍👧",
      ),
      fc.string({ unit: "grapheme", maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

describe("all pieces together are the decoded whole", () => {
  for (const skipSpecialTokens of [true, false]) {
    for (const cleans of [true, false]) {
      test(`${skipSpecialTokens ? "without" : "with"} special tokens, ${cleans ? "cleaned up" : "as they are"}`, () => {
        const options = { skipSpecialTokens, cleanUpSpaces: cleans };
        fc.assert(
          fc.property(words, fc.boolean(), (text, isLlama) => {
            const tokenizer = isLlama ? llama : qwen;
            const ids = tokenizer.encode(text);
            expect(pieces(tokenizer, ids, options).join("")).toBe(tokenizer.decode(ids, options));
          }),
          { numRuns: 300, seed: 1 },
        );
      });
    }
  }

  test("for any ids, valid text or not", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(459), { maxLength: 30 }), fc.boolean(), (ids, isLlama) => {
        const tokenizer = isLlama ? llama : qwen;
        expect(pieces(tokenizer, ids).join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
      }),
      { numRuns: 1000, seed: 2 },
    );
  });
});

test("half a character is held back until it is whole", () => {
  const ids = llama.encode("é 😀 ok", { addSpecialTokens: false });
  for (const piece of pieces(llama, ids)) expect(piece).not.toContain("\uFFFD");
  const emoji = qwen.encode("😀");
  expect(emoji.length).toBe(4);
  expect(pieces(qwen, emoji)).toEqual(["", "", "", "😀", ""]);
});

test("what never becomes a character comes out at the end", () => {
  expect(pieces(qwen, qwen.encode("😀").slice(0, 2)).join("")).toBe("\uFFFD");
});

test("words come out as soon as they are there", () => {
  expect(pieces(llama, [1, 403, 407, 261, 378])).toEqual(["", "Once", " upon", " a", " time", ""]);
});

test("text before a settled length keeps its cleaned form whatever follows", () => {
  fc.assert(
    fc.property(words, words, (text, more) => {
      const settled = settledLength(text);
      expect(cleanUpSpaces(text.slice(0, settled)) + cleanUpSpaces(text.slice(settled) + more)).toBe(cleanUpSpaces(text + more));
    }),
    { numRuns: 500, seed: 3 },
  );
});

test("a stream that goes on from other tokens keeps its first space", () => {
  const ids = llama.encode("Once upon a time", { addSpecialTokens: false });
  const streamed = (after: number[], rest: number[]) => {
    const stream = textStream(llama, { after });
    return rest.map((id) => stream.push(id)).join("") + stream.flush();
  };
  for (let at = 1; at < ids.length; at++) {
    expect(llama.decode(ids.slice(0, at)) + streamed(ids.slice(0, at), ids.slice(at))).toBe("Once upon a time");
  }
});
