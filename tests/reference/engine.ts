/** @file The real engine, with the same signature as the reference. */

import type { Graph } from "../../src/graph/value.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { Session } from "../../src/runtime/session.ts";
import { fromHost, type NdArray, toHost } from "./array.ts";
import type { Tolerance } from "./compare.ts";

/** float32 rounds at 6e-8. Tests add up to a few dozen terms of size 1, and the engine's tanh, erf and exp are rational
 *  approximations with errors of a few units in the last place. 1e-5 covers both and nothing else. */
export const FLOAT32: Tolerance = { relative: 1e-5, absolute: 1e-5 };

/** The graph's outputs by name, computed by the engine; default: the engine of sessions. */
export async function computed(graph: Graph, feeds: Readonly<Record<string, NdArray>>, engine?: Engine): Promise<Record<string, NdArray>> {
  await using session = await Session.load(graph, { threads: 1, ...(engine && { engine }) });
  const fetches = await session.run(Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, toHost(feed)])));
  return Object.fromEntries(Object.entries(fetches).map(([name, tensor]) => [name, fromHost(tensor)]));
}
