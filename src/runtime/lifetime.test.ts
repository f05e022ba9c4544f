/** @file What stays on a device outlives the sessions that made it. In a file of its own: no other session of this process may be open. */

import { describe, expect, test } from "vitest";
import { ENGINES_HERE } from "../../tests/engines.ts";
import { float32 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add, mul } from "../graph/ops/elementwise.ts";
import type { DeviceTensor, Engine } from "./engine.ts";

const ROUNDS = 20;

/** 2 x + round, from a session that was disposed of since. */
async function doubled(engine: Engine, round: number): Promise<DeviceTensor> {
  const g = createGraph("doubled");
  g.output("y", add(mul(g.float("x", "rows", 64), 2), round));
  const session = await engine.load(g, { keep: ["y"], threads: 1 });
  const { kept } = await session.runKeeping({ x: float32([3, 64], new Float32Array(192).fill(round)) });
  await session.dispose();
  return kept.y!;
}

describe.each(ENGINES_HERE)("on $name", (engine) => {
  test("outputs are freed after the last session", async () => {
    for (let round = 0; round < ROUNDS; round++) (await doubled(engine, round)).dispose();
    expect(engine.held().tensors).toBe(0);
  });

  test("outputs are read after their session", async () => {
    const tensors: DeviceTensor[] = [];
    for (let round = 0; round < ROUNDS; round++) tensors.push(await doubled(engine, round));
    for (const [round, tensor] of tensors.entries()) {
      expect(await tensor.read()).toEqual(float32([3, 64], new Float32Array(192).fill(3 * round)));
      tensor.dispose();
    }
    expect(engine.held().tensors).toBe(0);
  });
});
