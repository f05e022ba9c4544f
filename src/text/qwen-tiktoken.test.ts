import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import golden from "../../tests/golden/qwen_tokenizer/encodings.json" with { type: "json" };
import { CheckpointError } from "../base/errors.ts";
import { loadTokenizer } from "./load-tokenizer.ts";
import { parseQwenTiktoken } from "./qwen-tiktoken.ts";

// QWenTokenizer computed the golden with a vocabulary made for this test; special tokens keep their ids from 151,643 on.
const FOLDER = new URL("../../tests/golden/qwen_tokenizer/", import.meta.url).pathname;

test("gives the ids and texts of Qwen's own tokenizer", async () => {
  const tokenizer = await loadTokenizer(FOLDER);
  expect(golden.tiny.length).toBeGreaterThan(30);
  for (const { text, ids, decoded, decoded_skip_special: plain } of golden.tiny) {
    expect(tokenizer.encode(text), text).toEqual(ids);
    expect(tokenizer.decode(ids), text).toBe(decoded);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true }), text).toBe(plain);
  }
});

test("knows Qwen's special tokens", async () => {
  const tokenizer = await loadTokenizer(FOLDER);
  for (const [name, id] of Object.entries(golden.special_tokens)) expect(tokenizer.idOf(name)).toBe(id);
  expect(tokenizer).toMatchObject({ eosId: golden.eod_id, vocabularySize: 151851 });
  expect(tokenizer.tokenText(golden.im_end_id)).toBe("<|im_end|>");
});

test("a contraction may be written with the long s, as in Rust's regular expressions", async () => {
  const folder = await mkdtemp(join(tmpdir(), "skein-tiktoken-"));
  const tokens = [...Array.from({ length: 256 }, (_, byte) => Buffer.of(byte)), Buffer.from("ſ"), Buffer.from("ſx")];
  await writeFile(join(folder, "x.tiktoken"), tokens.map((token, rank) => `${token.toString("base64")} ${rank}\n`).join(""));
  const tokenizer = await loadTokenizer(folder);
  expect(tokenizer.encode("aſx")).toEqual([97, 257]);
  expect(tokenizer.encode("'ſx")).toEqual([39, 256, 120]); // cut after the contraction, so the token "ſx" is not found
  await rm(folder, { recursive: true });
});

test("a damaged vocabulary is refused with its line", () => {
  const parsed = (text: string) => () => parseQwenTiktoken(text, { path: "x.tiktoken" });
  expect(parsed("IQ== 0\n\nnot a line\n")).toThrow(/x.tiktoken:3/);
  expect(parsed("IQ== 0\nI= 1\n")).toThrow(/"I=" is not base64[\s\S]*x.tiktoken:2/);
  expect(parsed("IQ== 0\n")).toThrow(CheckpointError);
});
