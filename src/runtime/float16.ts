/** @file Whether a device computes with float16 numbers: a small graph finds out. */

import { float32, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { cast, toFloat } from "../graph/ops/elementwise.ts";
import { gather } from "../graph/ops/movement.ts";
import type { Graph } from "../graph/value.ts";
import type { Session } from "./engine.ts";

const STEP = 2 ** -10; // between float16 numbers from 1 on

/** Whether a row of a float16 table comes back as the nearest such numbers. A GPU without them (WebGPU's shader-f16) refuses the graph. */
export async function computesFloat16(load: (graph: Graph) => Promise<Session>): Promise<boolean> {
  const graph = createGraph("float16");
  const table = cast(graph.float("x", "rows", 2), "float16");
  graph.output("y", toFloat(gather(table, graph.int("ids", "chosen"))));
  try {
    await using session = await load(graph);
    const { y } = await session.run({ x: float32([2, 2], [0, 0, 1 + STEP / 4, 1 + STEP]), ids: int64([1], [1]) });
    return y!.data[0] === 1 && y!.data[1] === 1 + STEP;
  } catch {
    return false;
  }
}
