import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byteTokenizer } from "../../tests/byte-tokenizer.ts";
import { keeping } from "../../tests/engines.ts";
import { golden, maxDifference } from "../../tests/golden.ts";
import type { Adapter, LoraAdapter } from "../adapters/adapter.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { trainExpert, trainGate } from "./train.ts";
import { trainExperts, trainGates } from "./train-together.ts";

// A row's sums are the same numbers in an order that depends on the size of the whole product, and AdamW divides by sqrt(v), which
// enlarges the rounding of tiny gradients. The goldens of PEFT allow the same.
const TOLERANCE = 1e-4;
const tokenizer = byteTokenizer(120);

/** T5 where parameters, gradients and optimizers stay on a device. */
const KEPT = "t5 on a device";

let folder: string;
const models = new Map<string, LoadedModel>();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-together-"));
  for (const name of ["t5", "llama"]) models.set(name, await loadModel(golden(`${name}/model`)));
  models.set(KEPT, await loadModel(golden("t5/model"), { engine: keeping }));
});
afterAll(async () => {
  for (const model of models.values()) await model.dispose();
  await rm(folder, { recursive: true, force: true });
});

const pairs = (...rows: readonly (readonly [string, string])[]): TrainingExample[] =>
  rows.map(([input, target]) => ({ kind: "pair", input, target }));
const OPTIONS = {
  steps: 6,
  batchSize: 3,
  microBatchSize: 2,
  rank: 2,
  alpha: 2,
  lr: 5e-3,
  dropout: 0.1,
  validateEvery: 2,
  saveEvery: 2,
  // Not q_proj: in rows of a few tokens its gradient is 0 but for rounding, which AdamW turns into whole steps.
  targets: "q,v,wo,v_proj,down_proj".split(","),
};
const EXPERTS = [
  { name: "short", training: pairs(["ab", "b"], ["cd", "d"], ["ef", "f"]), validation: pairs(["gh", "h"]) },
  {
    name: "long",
    training: pairs(["a long row of text", "text"], ["another", "one more"]),
    validation: pairs(["row", "text"], ["a", "b"]),
  },
  { name: "brief", training: pairs(["x", "yy"]), options: { steps: 3, seed: 5, batchSize: 1 } },
];

function expectSame(found: Adapter | undefined, expected: Adapter) {
  const [a, b] = [found as LoraAdapter, expected as LoraAdapter];
  expect([...a.modules.keys()]).toEqual([...b.modules.keys()]);
  for (const [module, weights] of b.modules) {
    expect(maxDifference(a.modules.get(module)!.a, weights.a)).toBeLessThan(TOLERANCE);
    expect(maxDifference(a.modules.get(module)!.b, weights.b)).toBeLessThan(TOLERANCE);
  }
}
const losses = async (run: string) =>
  (await readFile(join(run, "metrics.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number>);

async function alone(name: string, only: (typeof EXPERTS)[number]): Promise<Adapter> {
  const { options, name: expert, ...part } = only;
  const run = join(folder, `${name}-${expert}-alone`);
  return trainExpert({ model: models.get(name)!, tokenizer, ...part, run, options: { ...OPTIONS, ...options } });
}

test.each(["t5", "llama", KEPT])("%s: experts that train at once end with the numbers that they have alone", async (name) => {
  const steps = new Map<string, number>();
  const onProgress = (expert: string, { step }: { step: number }) => steps.set(expert, step);
  const experts = EXPERTS.map((part) => ({ ...part, run: join(folder, `${name}-${part.name}`) }));
  const model = models.get(name)!;
  const held = model.base.engine.held();
  const trained = await trainExperts({ model, tokenizer, experts, options: OPTIONS, atOnce: 2, hooks: { onProgress } });
  expect(model.base.engine.held()).toEqual(held);
  expect(Object.fromEntries(steps)).toEqual({ short: 6, long: 6, brief: 3 });
  for (const part of EXPERTS) {
    expectSame(trained.get(part.name), await alone(name, part));
    const [own, expected] = [await losses(join(folder, `${name}-${part.name}`)), await losses(join(folder, `${name}-${part.name}-alone`))];
    expect(own.map(Object.keys)).toEqual(expected.map(Object.keys));
    own.forEach((line, i) => {
      for (const [key, value] of Object.entries(line)) expect(Math.abs(value - expected[i]![key]!)).toBeLessThan(1e-3);
    });
  }
});

test("an expert whose loss is no number is named, and disturbs no other", async () => {
  const model = models.get("t5")!;
  const broken = {
    name: "broken",
    training: pairs(["a", "b"]),
    options: { lr: 1e300, schedule: { kind: "constant", warmupRatio: 0 } },
  } as const;
  const runs = (part: { name: string }) => ({ ...part, run: join(folder, `nan-${part.name}`) });
  const experts = [EXPERTS[0]!, broken, EXPERTS[1]!].map((part) => ({ ...part, ...runs(part) }));
  const training = trainExperts({ model, tokenizer, experts, options: OPTIONS });
  await expect(training).rejects.toMatchObject({ code: "training-diverged", where: "broken" });
  // The others have ended: their runs give the result at once.
  const ended = experts.filter(({ name }) => name !== "broken");
  const trained = await trainExperts({
    model,
    tokenizer,
    experts: ended,
    options: OPTIONS,
    hooks: { onProgress: () => expect.unreachable() },
  });
  for (const part of [EXPERTS[0]!, EXPERTS[1]!]) expectSame(trained.get(part.name), await alone("t5", part));
});

test("experts that stopped at different steps go on together", async () => {
  const model = models.get("t5")!;
  const experts = EXPERTS.map((part) => ({ ...part, run: join(folder, `stopped-${part.name}`) }));
  for (const [index, stopAt] of [2, 5].entries()) {
    const controller = new AbortController();
    const hooks = {
      signal: controller.signal,
      onProgress: (expert: string, { step }: { step: number }) => {
        if (expert === "short" && step === stopAt) controller.abort();
      },
    };
    const some = index === 0 ? experts.slice(0, 1) : experts;
    await expect(trainExperts({ model, tokenizer, experts: some, options: OPTIONS, hooks })).rejects.toMatchObject({ code: "stopped" });
  }
  const trained = await trainExperts({ model, tokenizer, experts, options: OPTIONS });
  for (const part of EXPERTS) expectSame(trained.get(part.name), await alone("t5", part));
});

test.each(["t5", KEPT])("%s: gates train at once as they do alone", async (name) => {
  const model = models.get(name)!;
  const options = { steps: 3, batchSize: 2, microBatchSize: 2, dropout: 0.1 };
  const adapters = await Promise.all(EXPERTS.map((part) => alone(name, part)));
  const experts = EXPERTS.map(({ name, training }, i) => ({ name, training, expert: adapters[i]! }));
  const gates = await trainGates({ model, tokenizer, experts, options });
  for (const { name, training, expert } of experts) {
    const expected = await trainGate({ model, tokenizer, training, expert, options });
    for (const [module, gate] of expected) expect(maxDifference(gates.get(name)!.get(module)!, gate)).toBeLessThan(TOLERANCE);
  }
});

test.each<[string, object, string]>([
  ["experts of other forms", { options: { rank: 3 } }, "long"],
  ["another kind", { options: { kind: "ia3", targets: ["k"] } }, "long"],
  ["a name twice", { name: "short" }, "short"],
])("%s are refused before anything is trained", async (_, change, named) => {
  const experts = [EXPERTS[0]!, { ...EXPERTS[1]!, ...change }];
  const training = trainExperts({ model: models.get("t5")!, tokenizer, experts, options: OPTIONS });
  await expect(training).rejects.toThrow(named);
  await expect(training).rejects.toMatchObject({ name: "OptionError" });
});
