/** @file The device that a machine's jobs compute on. */

import { createGraph } from "../graph/graph.ts";
import { engineFor } from "../runtime/device.ts";
import type { Device } from "../runtime/engine.ts";

/** The device for `JobProgram`, once it has loaded a graph here: a worker whose device is missing would fail all jobs of a queue. "auto" is
 *  measured for about a second, once for all jobs.
 *  @throws EngineError where the machine does not have the device. */
export async function jobDevice(asked: Device | "auto"): Promise<Device> {
  const engine = await engineFor(asked);
  const graph = createGraph("nothing");
  graph.output("same", graph.float("x", 1));
  await (await engine.load(graph)).dispose();
  return engine.device;
}
