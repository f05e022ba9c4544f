/** @file How fast steps are on this machine: a few micro-batches of an expert's training, on its own data where they are here. */

import { DataError } from "../base/errors.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Model } from "../inference/model.ts";
import { trainExpert } from "../training/train.ts";
import type { ExpertPlan } from "./recipe-file.ts";

const STEPS = 5; // the first one warms up

/** Tokens per second of training. Where the data are not here, of examples as long as the recipe allows. */
export async function measuredStep(
  model: Model,
  { training, source }: ExpertPlan,
  examples: () => Promise<readonly TrainingExample[]>,
): Promise<{ tokensPerSecond: number }> {
  const isHere = source.dataset === undefined;
  const learned = isHere ? await examples() : [longExample(training.maxLength)];
  if (learned.length === 0)
    throw new DataError({ code: "data-empty", what: "There is nothing to measure a step with.", fix: "Give the expert examples." });
  const options = { ...training, steps: STEPS, batchSize: training.microBatchSize, validateEvery: 0, saveEvery: STEPS };
  const seen: { at: number; tokens: number }[] = [];
  const start = performance.now();
  await trainExpert({
    model,
    tokenizer: await model.base.tokenizer(),
    training: learned,
    options,
    hooks: {
      onProgress: ({ tokensPerSecond }) => {
        const at = (performance.now() - start) / 1000;
        seen.push({ at, tokens: tokensPerSecond * at });
      },
    },
  });
  const [warm, last] = [seen[0]!, seen.at(-1)!];
  return { tokensPerSecond: (last.tokens - warm.tokens) / (last.at - warm.at) };
}

function longExample(maxLength: number): TrainingExample {
  const text = "one ".repeat(maxLength);
  return { kind: "pair", input: text, target: text };
}
