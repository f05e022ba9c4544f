/** @file One decision for a whole text: with all experts it is the free choice, with one it is that expert alone. */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import type { Expert } from "../adapters/expert.ts";
import { promptsOf } from "../inference/prompts.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { singleAdapter, type Woven } from "../inference/woven.ts";
import { loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { trainExpert, trainGate } from "../training/train.ts";
import { oneDecision } from "./one-decision.ts";

const WORDS = ["red", "green", "blue", "one", "two", "three"];
let folder: string;
afterAll(() => rm(folder, { recursive: true, force: true }));

test("all experts are the free choice, and one expert serves the text alone", async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-one-decision-"));
  await cp(golden("llama/model"), folder, { recursive: true });
  await writeWordTokenizer(folder, WORDS);
  await using model = await loadModel(folder);
  const tokenizer = await model.tokenizer();
  const options = { steps: 2, batchSize: 2, lr: 0.05, rank: 2, alpha: 4 };
  const experts: Expert[] = [];
  for (const [i, name] of ["colours", "numbers", "both"].entries()) {
    const training = [0, 1].map((j) => ({ kind: "pair" as const, input: WORDS[i + j]!, target: WORDS[i + j + 1]! }));
    const adapter = await trainExpert({ model, tokenizer, training, options: { ...options, seed: i } });
    const gates = await trainGate({ model, tokenizer, training, expert: adapter, options: { steps: 3, batchSize: 2, lr: 0.1 } });
    experts.push({ name, adapter, gates, warnings: [] });
  }
  const texts = ["red green one", "two"].map((text) => tokenizer.encode(text));
  const prompts = promptsOf(texts); // the second row is padded
  const logits = async (woven: Woven) => [...(await model.runner.forward(woven, prompts)).logits.data];
  const setting = { router: phatgoose(), topK: 2 };
  const free = new RoutedPool(experts, model.base.modules, setting);
  expect(await logits(oneDecision(model, experts, { ...setting, count: 3 }))).toEqual(await logits(free));

  const once = await logits(oneDecision(model, experts, { ...setting, count: 1 }));
  const alone = await Promise.all(experts.map(({ adapter }) => logits(singleAdapter(adapter, model.base.modules))));
  const rowLength = once.length / 2;
  for (const row of [0, 1]) {
    const ofRow = (values: readonly number[]) => values.slice(row * rowLength, (row + 1) * rowLength);
    const differences = alone.map((own) => Math.max(...ofRow(own).map((value, i) => Math.abs(value - ofRow(once)[i]!))));
    expect(differences.filter((difference) => difference < 1e-5)).toHaveLength(1); // float32, other order of sums
    const shares = experts.map(() => 0);
    const { routes } = await model.runner.forward(free, promptsOf([texts[row]!]), { routes: true });
    for (const { experts: chosen, weights } of routes!.values())
      for (const [at, expert] of chosen.data.entries()) shares[Number(expert)]! += weights.data[at]!;
    expect(differences.indexOf(Math.min(...differences))).toBe(shares.indexOf(Math.max(...shares)));
  }
});
