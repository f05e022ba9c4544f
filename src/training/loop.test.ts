import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden, maxDifference } from "../../tests/golden.ts";
import { StoppedError } from "../base/errors.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import type { DeviceFeeds, Engine, Session } from "../runtime/engine.ts";
import { failureOf } from "../runtime/failures.ts";
import { cpu, webgpu } from "../runtime/onnxruntime-node.ts";
import type { Encoded } from "./batches.ts";
import { exampleOrder } from "./batches.ts";
import { adapterLearner, freshLora } from "./learner.ts";
import { type LoopHooks, type LoopOptions, train } from "./loop.ts";
import { Run } from "./run.ts";
import { Trainer } from "./trainer.ts";

const OPTIONS: LoopOptions = {
  steps: 7,
  batchSize: 4,
  microBatchSize: 2,
  lr: 5e-3,
  schedule: { kind: "constant", warmupRatio: 0.2 },
  seed: 3,
  validateEvery: 3,
  saveEvery: 2,
};

/** Copying tasks of random tokens. */
function examples(count: number, seed: number): Encoded[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const ids = Array.from({ length: 3 + random.integer(5) }, () => 3 + random.integer(150));
    return { inputs: [...ids, 1], labels: [...ids.slice(0, 3), 1] };
  });
}
const data = { training: examples(10, 1), validation: examples(4, 2) };

let folder: string;
let model: LoadedModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-loop-"));
  model = await loadModel(golden("t5/model"));
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true, force: true });
});

async function attempt(name: string, hooks: LoopHooks = {}, options = OPTIONS, engine?: Engine) {
  const targets = [...model.base.modules.keys()].filter((module) => /\.(q|v)$/.test(module));
  const learner = adapterLearner(model.base, freshLora(model.base.modules, { targets, rank: 2, scaling: 0.5, seed: 5 }));
  await using trainer = await Trainer.create(model.base.architecture, learner, {
    dropout: 0.1,
    seed: derivedSeed(3, "dropout"),
    session: { threads: 1, ...(engine && { engine }) },
  });
  const run = await Run.open(join(folder, name), { ...options });
  return await train(trainer, model.base.architecture, data, options, run, hooks);
}
const metrics = async (name: string) => (await readFile(join(folder, name, "metrics.jsonl"), "utf8")).trim().split("\n");

test("a run stopped anywhere and resumed ends with the numbers of an undisturbed one", async () => {
  const whole = await attempt("whole");
  for (const stopAt of [1, 2, 5]) {
    const name = `stopped-${stopAt}`;
    const crash = {
      onProgress: ({ step }: { step: number }) => {
        if (step === stopAt) throw new Error("power cut");
      },
    };
    await expect(attempt(name, crash)).rejects.toThrow("power cut");
    const resumed = await attempt(name);
    for (const [parameter, tensor] of whole) expect(maxDifference(resumed.get(parameter)!, tensor)).toBe(0);
    expect(await metrics(name)).toEqual(await metrics("whole"));
  }
});

test("an interrupt saves and says how to go on", async () => {
  const controller = new AbortController();
  const hooks: LoopHooks = {
    signal: controller.signal,
    onProgress: ({ step }) => {
      if (step === 3) controller.abort();
    },
  };
  await expect(attempt("interrupted", hooks)).rejects.toThrow(StoppedError);
  const resumed = await attempt("interrupted");
  const whole = await attempt("whole-again");
  for (const [parameter, tensor] of whole) expect(maxDifference(resumed.get(parameter)!, tensor)).toBe(0);
});

/** A device that is lost at its fourth training pass. */
const failing: Engine = {
  ...cpu,
  async load(graph, options) {
    const session = await cpu.load(graph, options);
    if (graph.name !== "training") return session;
    let runs = 0;
    return {
      inputs: session.inputs,
      outputs: session.outputs,
      runKeeping(feeds: DeviceFeeds) {
        if (++runs === 4) throw failureOf(webgpu, new Error("WebGPU device lost"))!;
        return session.runKeeping(feeds);
      },
      dispose: () => session.dispose(),
    } as Partial<Session> as Session;
  },
};

test("after a lost device the state of the last whole step is kept, and another device goes on from it", async () => {
  const options = { ...OPTIONS, saveEvery: 100 };
  await expect(attempt("lost", {}, options, failing)).rejects.toMatchObject({ code: "engine-device-lost" });
  const steps: number[] = [];
  const resumed = await attempt("lost", { onProgress: ({ step }) => steps.push(step) }, options, cpu);
  expect(steps[0]).toBeGreaterThan(1);
  const whole = await attempt("whole-for-lost", {}, options, cpu);
  for (const [parameter, tensor] of whole) expect(maxDifference(resumed.get(parameter)!, tensor)).toBe(0);
  expect(await metrics("lost")).toEqual(await metrics("whole-for-lost"));
});

test("another configuration in the same folder is refused and named", async () => {
  await attempt("configured", {}, { ...OPTIONS, steps: 1 });
  await expect(attempt("configured", {}, { ...OPTIONS, steps: 2 })).rejects.toThrow("steps was 1, now 2");
});

test("a run's folder is named as a whole, and other examples in words", async () => {
  const run = await mkdtemp(join(folder, "begun-"));
  await Run.open(run, { steps: 1, data: "0123" });
  await expect(Run.open(run, { steps: 1, data: "4567" })).rejects.toMatchObject({
    what: "This run was begun otherwise: the examples are others.",
    where: run,
  });
});

test("a line cut off by a crash is dropped from the metrics", async () => {
  await attempt("cut", {}, { ...OPTIONS, steps: 2 });
  const path = join(folder, "cut", "metrics.jsonl");
  const text = await readFile(path, "utf8");
  await writeFile(path, `${text}{"step":3,"lo`);
  await attempt("cut", {}, { ...OPTIONS, steps: 2 });
  expect(await readFile(path, "utf8")).toBe(text);
});

test("an epoch shows every example once before any twice", () => {
  const order = exampleOrder([0, 1, 2, 3, 4], 9);
  const seen = [0, 1, 2, 3, 4].flatMap((step) => order(step, 2));
  expect([...seen.slice(0, 5)].sort()).toEqual([0, 1, 2, 3, 4]);
  expect([...seen.slice(5)].sort()).toEqual([0, 1, 2, 3, 4]);
});
