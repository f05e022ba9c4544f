/** @file Gates from data against gates from samples, shortened, on a tiny Llama. */

import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import type { Expert } from "../adapters/expert.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import { loadModel } from "../library/model.ts";
import { trainExpert, trainGate } from "../training/train.ts";
import { sampleGates, sampleGatesTable } from "./sample-gates.ts";

const WORDS = ["red", "green", "blue", "one", "two", "three", ...Array.from({ length: 60 }, (_, i) => `word${i}`)];
let folder: string;
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a shortened run compares both kinds of gates, and goes on with what it kept", async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-sample-gates-"));
  await cp(golden("llama/model"), join(folder, "base"), { recursive: true });
  await writeWordTokenizer(join(folder, "base"), WORDS);
  await using model = await loadModel(join(folder, "base"));
  const tokenizer = await model.tokenizer();
  const options = { steps: 2, batchSize: 2, lr: 0.02, rank: 2, alpha: 4 };
  const experts: Expert[] = [];
  for (const [i, name] of ["colours", "numbers"].entries()) {
    const training = [0, 1].map((j) => ({ kind: "pair" as const, input: WORDS[3 * i + j]!, target: WORDS[3 * i + j + 1]! }));
    const adapter = await trainExpert({ model, tokenizer, training, options });
    const gates = await trainGate({ model, tokenizer, training, expert: adapter, options: { steps: 2, batchSize: 2 } });
    experts.push({ name, adapter, gates, warnings: [] });
  }
  const examples = [{ input: "red", target: "green" }];
  const task: EvaluationTask = {
    name: "one",
    group: "held in",
    kind: "loglikelihood",
    metrics: ["acc"],
    choiceScore: "token_mean",
    targetDelimiter: "",
    examples,
  };
  const parts: string[] = [];
  const job = { model, tokenizer, experts, tasks: [task], counts: [8], gates: { steps: 2, batchSize: 2 }, samples: { sampleLength: 4 } };
  const place = { seed: 1, out: join(folder, "out"), onPart: (part: string) => parts.push(part) };
  const found = await sampleGates({ ...job, ...place });
  expect(Object.keys(found.methods)).toEqual(["gates from data", "gates from 8 samples", "arrow", "spectr", "uniform"]);
  const sampled = found.methods["gates from 8 samples"]!;
  expect(sampled.agreement).toBeGreaterThanOrEqual(0);
  expect(sampled.agreement).toBeLessThanOrEqual(1);
  for (const { groups } of Object.values(found.methods)) expect(groups["held in"]).toBeGreaterThan(0);
  parts.length = 0;
  expect(await sampleGates({ ...job, ...place })).toEqual(found);
  expect(parts).toEqual(["evaluating gates from 8 samples"]);

  // Each expert continues its own prompts.
  const own: Readonly<Record<string, readonly string[]>> = { colours: ["red blue", "green"], numbers: ["one two", "three"] };
  await sampleGates({ ...job, ...place, out: join(folder, "own"), prompts: (expert) => own[expert] });
  for (const [name, asked] of Object.entries(own)) {
    const rows = (await readFile(join(folder, "own", "samples", "8", name, "samples.jsonl"), "utf8")).trim().split("\n");
    expect(new Set(rows.map((row) => JSON.parse(row).input))).toEqual(new Set(asked));
  }
  expect(sampleGatesTable([found], { name: "tiny", command: "node x", source: "openings", commit: "abc" })).toMatch(
    /\| gates from 8 samples \| \d/,
  );
});
