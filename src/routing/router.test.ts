/** @file Which experts a token gets, and with what weights, where scores are equal, barred or far apart. */

import { describe, expect, test } from "vitest";
import { float32 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { Session } from "../runtime/session.ts";
import { chosen } from "./router.ts";

const NONE = Number.NEGATIVE_INFINITY;

/** The route of one token with these scores. */
async function routeOf(scores: readonly number[], k: number, options: Parameters<typeof chosen>[2] = {}) {
  const graph = createGraph("route");
  const { experts, weights } = chosen(graph.float("scores", "batch", "sequence", "experts"), k, options);
  graph.output("experts", experts);
  graph.output("weights", weights);
  await using session = await Session.load(graph);
  const results = await session.run({ scores: float32([1, 1, scores.length], scores) });
  return { experts: [...results.experts!.data].map(Number), weights: [...results.weights!.data].map(Number) };
}

const ROWS: Readonly<Record<string, readonly number[]>> = {
  "all equal": [0, 0, 0, 0],
  "two equal in front": [1, 1, 0, 0],
  "two equal at the end": [0, 0, 1, 1],
  "equal but for the first": [0.5, 1, 1, 1],
  "one open": [NONE, 0, NONE, NONE],
  "two open": [0, NONE, 0.25, NONE],
  "one far above": [200, 0, 0, 0],
  "as far apart as scores go": [-1e29, 1e29, -1e29, 0],
  "negative zero": [-0, 0, -0, 0],
};

describe.each([1, 2, 3, 4])("top %i", (k) => {
  test.each(Object.entries(ROWS))("%s", async (_, scores) => {
    const best = [...scores.keys()].sort((i, j) => (scores[i] === scores[j] ? i - j : scores[j]! - scores[i]!)).slice(0, k);
    const shares = best.map((i) => Math.exp(scores[i]! - scores[best[0]!]!));
    const sum = shares.reduce((a, b) => a + b);
    const { experts, weights } = await routeOf(scores, k);
    // Among barred experts the order does not matter.
    const isOpen = (i: number) => scores[i] !== NONE;
    expect(experts.filter(isOpen)).toEqual(best.filter(isOpen));
    weights.forEach((weight, j) => {
      expect(weight).toBeCloseTo(shares[j]! / sum, 6);
    });
    if (scores.every(Number.isFinite)) expect((await routeOf(scores, k, { barred: false })).experts).toEqual(experts);
  });

  test("of barred experts alone none has a weight", async () => {
    expect((await routeOf([NONE, NONE, NONE, NONE], k)).weights).toEqual(Array(k).fill(0));
  });
});
