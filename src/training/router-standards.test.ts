/** @file Compares whitened coordinates with their definition, and checks that routers have the same scores in both coordinates. */

import { expect, test } from "vitest";
import { expectClose } from "../../tests/golden.ts";
import { seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { routerScores } from "../routing/moa.ts";
import { Session } from "../runtime/session.ts";
import { plainRouter, standardized, standardOf, whitened, whitenedIn } from "./router-standards.ts";

const HIDDEN = 6;
const random = seededRandom(8);
/** Six components: two are correlated, and one is large and almost constant. */
function state(): Float32Array {
  const common = 5 * random.normal();
  const own = Array.from({ length: HIDDEN }, () => 0.1 * random.normal());
  return Float32Array.from(own, (value, i) => (i < 2 ? common + value : i === 2 ? 100 + value : value));
}
const states = Array.from({ length: 400 }, state);
const standard = standardOf(states);

function covariance(rows: readonly Float32Array[], i: number, j: number): number {
  const mean = (k: number) => rows.reduce((sum, row) => sum + row[k]!, 0) / rows.length;
  const [a, b] = [mean(i), mean(j)];
  return rows.reduce((sum, row) => sum + (row[i]! - a) * (row[j]! - b), 0) / rows.length;
}

test("whitened states are uncorrelated, of mean 0 and deviation 1", () => {
  const white = states.map((one) => whitened(one, standard));
  const found = Array.from({ length: HIDDEN ** 2 }, (_, at) => covariance(white, Math.floor(at / HIDDEN), at % HIDDEN));
  const identity = Array.from({ length: HIDDEN ** 2 }, (_, at) => (at % (HIDDEN + 1) === 0 ? 1 : 0));
  expectClose(float32([HIDDEN, HIDDEN], found), float32([HIDDEN, HIDDEN], identity), 1e-3); // float32 states of size 100
  expect(Math.abs(white.reduce((sum, row) => sum + row[2]!, 0) / white.length)).toBeLessThan(1e-3);
});

test("a graph whitens as the host does", async () => {
  const graph = createGraph("whitening");
  graph.output("white", whitenedIn(graph.float("h", "batch", HIDDEN), standard));
  await using session = await Session.load(graph);
  const rows = states.slice(0, 3);
  const h = float32(
    [3, HIDDEN],
    rows.flatMap((row) => [...row]),
  );
  const expected = float32(
    [3, HIDDEN],
    rows.flatMap((row) => [...whitened(row, standard)]),
  );
  expectClose((await session.run({ h })).white!, expected, 1e-3);
});

test("a router scores the same in both coordinates, and comes back as it was", async () => {
  const numbers = (count: number) => Float32Array.from({ length: count }, () => random.normal());
  const router = { weight: float32([3, HIDDEN], numbers(3 * HIDDEN)), bias: float32([3], numbers(3)) };
  const own = standardized(router, standard);
  const graph = createGraph("scores");
  const [h, white] = [graph.float("h", "batch", HIDDEN), graph.float("white", "batch", HIDDEN)];
  graph.output("plain", routerScores(h, graph.constant(router.weight), graph.constant(router.bias)));
  graph.output("own", routerScores(white, graph.constant(own.weight), graph.constant(own.bias)));
  await using session = await Session.load(graph);
  const [one] = states;
  const { plain, own: scored } = await session.run({
    h: float32([1, HIDDEN], one!),
    white: float32([1, HIDDEN], whitened(one!, standard)),
  });
  expectClose(scored!, plain!, 1e-3); // scores of size 100 in float32
  expectClose(plainRouter(own, standard).weight, router.weight, 1e-4);
});

test("states wider than the sample, and states that never vary, have a standard too", () => {
  const wide = Array.from({ length: 4 }, () => Float32Array.from({ length: 300 }, () => random.normal()));
  const { deviations, rest } = standardOf(wide);
  expect(deviations.data.length).toBe(3); // four points span three directions
  expect(rest).toBeCloseTo(deviations.data[2]!);
  const same = standardOf([wide[0]!, wide[0]!]);
  expect([...whitened(wide[1]!, same)]).toEqual([...wide[1]!.map((value, i) => value - wide[0]![i]!)]);
});
