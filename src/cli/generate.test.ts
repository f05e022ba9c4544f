import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { skein } from "./captured-io.test-helper.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-generate-"));
  await cp(golden("llama/model"), folder, { recursive: true });
  // The tiny model has 160 tokens; every one reads as a word.
  await writeWordTokenizer(
    folder,
    Array.from({ length: 157 }, (_, i) => `w${i}`),
  );
  await writeFile(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: 1, num_beams: 4 }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Completion {
  readonly text: string;
  readonly ids: readonly number[];
  readonly finishReason: string;
  readonly logprobs?: readonly { token: string; logprob: number; topLogprobs?: readonly { token: string; logprob: number }[] }[];
}
async function completed(...flags: string[]): Promise<Completion> {
  const { out } = await skein("generate", "w1 w2 w3", "--base", folder, "--max-new-tokens", "6", "--json", ...flags);
  return (JSON.parse(out) as { completions: Completion[] }).completions[0]!;
}

test("a token's bias keeps it out or lets nothing else in", async () => {
  const { ids } = await completed("--ignore-eos");
  expect((await completed("--ignore-eos", "--logit-bias", `${ids[0]}:-1000`)).ids[0]).not.toBe(ids[0]);
  expect((await completed("--logit-bias", "50:1000")).ids).toEqual([50, 50, 50, 50, 50, 50]);
});

test("stop ids end a completion, and the end of sequence does not when it is ignored", async () => {
  const { ids } = await completed("--ignore-eos");
  expect(await completed("--ignore-eos", "--stop-ids", `${ids[0]},159`)).toMatchObject({ ids: [], finishReason: "stop" });
  expect(await completed("--logit-bias", "1:1000")).toMatchObject({ ids: [], finishReason: "stop" });
  expect((await completed("--logit-bias", "1:1000", "--ignore-eos")).ids).toEqual([1, 1, 1, 1, 1, 1]);
});

test("log-probabilities name their tokens", async () => {
  const { logprobs } = await completed("--logit-bias", "50:1000", "--logprobs", "2");
  expect(logprobs).toHaveLength(6);
  expect(logprobs![0]!.token.trim()).toBe("w47"); // id 50, after the three special tokens
  expect(logprobs![0]!.topLogprobs).toHaveLength(2);
});

test("what is not heeded is told", async () => {
  const { err } = await skein("generate", "w1", "--base", folder, "--max-new-tokens", "1", "--logprobs", "2");
  expect(err).toMatch(/num_beams to 4[\s\S]*--logprobs is shown with --json only/);
});

test.each([
  ["--logit-bias", "999:1", /outside the vocabulary/],
  ["--logit-bias", "1:2:3", /pairs of token id and number/],
  ["--logit-bias", "13", /pairs of token id and number/],
  ["--temperature", "-1", /--temperature <t>.*of at least 0\./],
  ["--top-p", "2", /--top-p <p>.*above 0 and at most 1\./],
  ["--frequency-penalty", "3", /of at least -2 and at most 2\./],
  ["--stop-ids", "1,x", /whole number/],
])("%s %s is refused", async (flag, value, message) => {
  const { code, err } = await skein("generate", "w1", "--base", folder, flag, value);
  expect(code).toBe(1);
  expect(err).toMatch(message);
});
