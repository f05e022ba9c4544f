/** @file A pool of adapters without gates answers under a method that needs none, and says so. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { openBase } from "../inference/base.ts";
import { Runner } from "../inference/runner.ts";
import { plain } from "../inference/woven.ts";
import { addExpert, createPool } from "../storage/pool.ts";
import { ServedPool } from "./served-pool.ts";

test("adapters without gates are routed by Arrow, or by the first method that is named and needs no gates", async () => {
  const pool = await mkdtemp(join(tmpdir(), "skein-served-"));
  const base = await openBase(golden("llama/model"));
  await using runner = new Runner(base);
  const model = { base, runner, woven: plain };
  try {
    await createPool(pool, { name: "llama", fingerprint: await base.fingerprint() });
    await addExpert(pool, golden("llama/adapter_step5"), { name: "one" });
    const warnings: string[] = [];
    const onWarning = (warning: string) => warnings.push(warning);
    expect((await ServedPool.open(model, pool, { onWarning })).standard).toBe("arrow");
    expect(warnings).toEqual([expect.stringMatching(/under arrow, not phatgoose.*"one"/)]);
    const methods = ["average-activation", "uniform"];
    expect((await ServedPool.open(model, pool, { methods, onWarning })).standard).toBe("uniform");
  } finally {
    await rm(pool, { recursive: true, force: true });
  }
});
