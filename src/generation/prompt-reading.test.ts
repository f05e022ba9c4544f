/** @file What is computed while prompts are read in chunks beside running streams, is what a forward pass gives. */

import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { int64 } from "../base/tensor.ts";
import type { Model } from "../inference/model.ts";
import { baseRiding } from "../inference/riding.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { openRows } from "../inference/row-choices.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { submitted } from "./jobs.test-helper.ts";
import { generationSettings } from "./options.ts";
import type { PromptResult, PromptWork } from "./prompt-reading.ts";
import { Scheduler } from "./scheduler.ts";
import { sequencesFor } from "./sequence.ts";
import { randomExperts } from "./woven.test-helper.ts";

const prompts = [40, 1, 23, 40, 2].map((length, i) => Array.from({ length }, (_, t) => 3 + ((i * 17 + t * 7) % 61)));

async function read(scheduler: Scheduler, model: Model, work: PromptWork): Promise<PromptResult[]> {
  const settings = generationSettings({ maxNewTokens: 1 }, model.base.checkpoint);
  const sequences = sequencesFor(model.base.architecture, prompts, settings);
  const results: PromptResult[] = [];
  await new Promise<void>((resolve, reject) => {
    const job = { model, prompts, sequences, ends: new Set<number>(), work, onlyReads: true };
    scheduler.submit(job, {
      token: () => reject(new Error("a job that only reads got a token")),
      prompt: (prompt, result) => {
        results[prompt] = result;
      },
      end: (error) => (error === undefined ? resolve() : reject(error)),
    });
  });
  return results;
}

function poolOf(model: LoadedModel): RoutedPool {
  return new RoutedPool(randomExperts(model, 3), model.base.modules, { router: phatgoose(), rows: openRows });
}

test.each(["llama/model", "qwen/model"])("%s: scores and embeddings, in chunks of 8 beside a stream", async (name) => {
  await using model = await loadModel(golden(name));
  const pool = poolOf(model);
  const scheduler = new Scheduler({ chunk: 8 });
  const stream = submitted(scheduler, { model, woven: pool, prompt: [5, 6, 7], options: { maxNewTokens: 60 } });
  for (const [reading, alone] of [
    [pool, pool],
    [baseRiding(pool), undefined],
  ] as const) {
    const own = alone ? model.withWoven(alone) : model;
    const reader = model.withWoven(reading);
    const scores = await read(scheduler, reader, { kind: "scores", top: 3 });
    const vectors = await read(scheduler, reader, { kind: "embedding" });
    for (const [i, prompt] of prompts.entries()) {
      const { logits } = await own.forward({ inputIds: int64([1, prompt.length], prompt) });
      const width = logits.shape[2]!;
      const result = scores[i]!;
      if (result.kind !== "scores") throw new Error(result.kind);
      expect(result.tokens).toHaveLength(prompt.length - 1);
      for (const [t, { logprob, top }] of result.tokens.entries()) {
        const row = [...logits.data.subarray(t * width, (t + 1) * width)];
        const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
        expect(logprob).toBeCloseTo(row[prompt[t + 1]!]! - total, 3);
        expect(top.map(({ logprob }) => logprob)).toEqual(top.map(({ id }) => expect.closeTo(row[id]! - total, 3)));
        expect(top[0]!.logprob).toBeCloseTo(Math.max(...row) - total, 3);
      }
      const vector = vectors[i]!;
      if (vector.kind !== "embedding") throw new Error(vector.kind);
      expect(Math.hypot(...vector.vector)).toBeCloseTo(1, 4);
    }
    // A text's vector does not depend on its company.
    const [first, , , again] = vectors.map((one) => (one.kind === "embedding" ? one.vector : undefined));
    expect(first).toHaveLength(again!.length);
  }
  expect((await stream)[0]!.ids).toHaveLength(60);
});

test("work aside runs between the steps of a stream", async () => {
  await using model = await loadModel(golden("llama/model"));
  const scheduler = new Scheduler();
  const counts: number[] = [];
  let tokens = 0;
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const onToken = () => {
    tokens++;
    begin();
  };
  const stream = submitted(scheduler, { model, woven: poolOf(model), prompt: [5, 6, 7], options: { maxNewTokens: 30 }, onToken });
  await begun;
  await Promise.all(Array.from({ length: 8 }, () => scheduler.aside(async () => counts.push(tokens))));
  await stream;
  const steps = counts.slice(1).map((count, i) => count - counts[i]!);
  expect(steps).toEqual(Array(7).fill(1));
  await expect(scheduler.aside(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
});
