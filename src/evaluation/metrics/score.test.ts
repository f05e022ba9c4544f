import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { corpusBleu } from "./bleu.ts";
import { scoreFile, scorePairs } from "./score.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-score-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

test("a file is scored line by line and as a corpus", async () => {
  const path = await file(
    "good.jsonl",
    '{"prediction": "the cat sat on the mat", "references": "The cat sat on the mat."}\n' +
      '{"prediction": "dogs barked loudly", "references": ["a dog barks", "the dogs barked"], "id": 7}\n',
  );
  const metrics = ["rouge1", "rougeL", "bleu", "squad", "exact_match"] as const;
  const { corpus, examples } = await scoreFile(path, { metrics: [...metrics], perExample: true });
  expect(examples?.map((example) => example.rouge1)).toEqual([1, 2 / 3]);
  expect(examples?.[0]?.bleu).toBeCloseTo(64.31870218238025, 10); // sacrebleu's, golden pair 1
  expect(corpus.rouge1).toBeCloseTo(5 / 6, 12);
  const references = [["The cat sat on the mat."], ["a dog barks", "the dogs barked"]];
  expect(corpus.bleu).toBe(corpusBleu(["the cat sat on the mat", "dogs barked loudly"], references).score);
  expect(corpus).toMatchObject({ squad_exact_match: 50, exact_match: 0 });
});

test("the stemmer joins forms of a word, and examples are left out unless asked for", () => {
  const pairs = [{ prediction: "dogs barking", references: ["dog barks"] }];
  const plain = scorePairs(pairs, { metrics: ["rouge1"] });
  const stemmed = scorePairs(pairs, { metrics: ["rouge1"], stemmer: true });
  expect([plain.corpus.rouge1, stemmed.corpus.rouge1]).toEqual([0, 1]);
  expect(plain.examples).toBeUndefined();
});

test.each([
  ['{"prediction": "a", "references": "a"}\n{"prediction": "b"}\n', /line 2/, /references/],
  ['{"prediction": "a", "references": []}\n', /line 1/, /references/],
  ['{"prediction": "a", "references": "a"}\n\n{oops}\n', /line 3/, /JSON/],
  ["[1]\n", /item 1/, /object/],
  ["\n", /bad\.jsonl/, /empty/],
])("a bad file is a DataError that names the place: %j", async (text, where, what) => {
  const error: unknown = await scoreFile(await file(text.startsWith("[") ? "bad.json" : "bad.jsonl", text)).catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "DataError", where: expect.stringMatching(where), what: expect.stringMatching(what) });
});
