/** @file Long proofs on WebGPU, for npm run check:webgpu: device memory does not grow, and a run that was killed there goes on on the CPU. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { readSafetensors } from "../src/checkpoint/safetensors.ts";
import { generateBatch } from "../src/generation/generate.ts";
import { randomExperts } from "../src/generation/woven.test-helper.ts";
import { RoutedPool } from "../src/inference/routed-pool.ts";
import { loadModel } from "../src/library/model.ts";
import { phatgoose } from "../src/methods/phatgoose.ts";
import { cpu, webgpu } from "../src/runtime/onnxruntime-node.ts";
import { webgpuMissing } from "./engines.ts";
import { expectClose, golden } from "./golden.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const skipped = webgpuMissing ?? (process.env.SKEIN_DEVICE === "webgpu" ? undefined : "run by npm run check:webgpu");
const here = (name: string) => (skipped ? `${name} (skipped: ${skipped})` : name);
const ROOT = fileURLToPath(new URL("..", import.meta.url));

const { folder } = temporaryFolder();

const ROUNDS = 100;
const MIB = 2 ** 20;

test.skipIf(skipped)(here(`${ROUNDS} rounds of generation, one more expert and one less leave nothing on the device`), async () => {
  const before = webgpu.held();
  const memory: number[] = [];
  {
    await using base = await loadModel(golden("llama/model"), { engine: webgpu });
    await using reference = await loadModel(golden("llama/model"), { engine: cpu });
    const experts = randomExperts(base, 4);
    let pool = new RoutedPool(experts.slice(0, 3), base.base.modules, { router: phatgoose() });
    let model = base.withWoven(pool);
    const prompts = [[5, 9, 12, 31]];
    const options = { temperature: 0, ignoreEos: true, maxNewTokens: 3 } as const;
    const held: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      pool = round % 2 === 0 ? pool.with(experts[3]!) : pool.without(experts[3]!.name);
      const changed = base.withWoven(pool);
      await model.dispose();
      model = changed;
      const [completion] = await generateBatch(model, prompts, options);
      if (round % 25 === 0) {
        await using expected = reference.withWoven(pool);
        expect(completion!.ids).toEqual((await generateBatch(expected, prompts, options))[0]!.ids);
      }
      held.push(webgpu.held().bytes);
      memory.push(process.memoryUsage().rss / MIB);
    }
    // Rounds with three experts hold as much as each other, and so do those with four.
    expect(new Set(held.slice(10)).size).toBeLessThanOrEqual(2);
  }
  await setTimeout();
  expect(webgpu.held()).toEqual(before);
  // The collector of the host runs when it likes: a leak of every round's experts would be twice as much.
  expect(memory.at(-1)! - memory[20]!).toBeLessThan(64);
});

const CHILD = `
  import { loadModel, trainExpert } from "skein";
  const [out, run] = process.argv.slice(1);
  const model = await loadModel("assets/demo-base");
  const pairs = { hot: "cold", big: "small", fast: "slow", old: "new" };
  const training = Object.entries(pairs).map(([input, target]) => ({ kind: "pair", input: "opposite of " + input, target }));
  const options = { steps: 8, batchSize: 2, microBatchSize: 1, rank: 2, saveEvery: 2, dropout: 0, targets: ["q", "v"] };
  await trainExpert({ model, tokenizer: await model.tokenizer(), training, out, run, options });
  await model.dispose();`;

function trainingOn(device: string, out: string, run: string): ChildProcess {
  const env = { ...process.env, SKEIN_DEVICE: device };
  return spawn(process.execPath, ["--input-type=module", "-e", CHILD, out, run], { cwd: ROOT, env, stdio: "inherit" });
}

/** Steps of a run that are logged. */
async function stepsOf(run: string): Promise<number> {
  const metrics = join(run, "metrics.jsonl");
  return existsSync(metrics) ? (await readFile(metrics, "utf8")).split("\n").length - 1 : 0;
}

test.skipIf(skipped)(here("a run that is killed on WebGPU goes on on the CPU, and ends as one on the CPU does"), async () => {
  const at = (name: string) => join(folder, name);
  const killed = trainingOn("webgpu", at("resumed"), at("run"));
  while ((await stepsOf(at("run"))) < 5 && killed.exitCode === null) await setTimeout(50);
  expect(killed.exitCode).toBeNull();
  killed.kill("SIGKILL");
  await once(killed, "exit");
  expect(existsSync(join(at("resumed"), "adapter_model.safetensors"))).toBe(false);
  for (const [out, run] of [
    ["resumed", "run"],
    ["whole", "other run"],
  ] as const) {
    const [code] = await once(trainingOn("cpu", at(out), at(run)), "exit");
    expect(code).toBe(0);
  }
  const [resumed, whole] = await Promise.all(
    ["resumed", "whole"].map((out) => readSafetensors(join(at(out), "adapter_model.safetensors"))),
  );
  for (const [name, tensor] of whole!) {
    const [got, wanted] = [resumed!.get(name), tensor] as [typeof tensor, typeof tensor];
    if (got.dtype !== "float32" || wanted.dtype !== "float32") throw new Error("not floats");
    // AdamW divides by sqrt(v), which amplifies the rounding of tiny gradients; eight steps move a number by up to 8 x the rate.
    expectClose(got as never, wanted as never, 1e-3);
  }
});
