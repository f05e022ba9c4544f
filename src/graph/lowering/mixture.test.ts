/** @file Both ways to compute a mixture of experts, compared with the reference: random shapes and forms, few and many rows an expert, and
 *  experts that nobody or everybody chose. */

import { describe, expect, test } from "vitest";
import { lacking } from "../../../tests/engines.ts";
import { difference } from "../../../tests/reference/compare.ts";
import { computed, FLOAT32 } from "../../../tests/reference/engine.ts";
import { evaluate } from "../../../tests/reference/evaluate.ts";
import { Sandbox } from "../../../tests/reference/sandbox.ts";
import { seededRandom, shuffledNumbers } from "../../base/random.ts";
import { cpu } from "../../runtime/onnxruntime-node.ts";
import type { Float } from "../value.ts";
import type { Mixture } from "./mixture.ts";

const WAYS = ["masked", "sorted"] satisfies Mixture[];

interface Sizes {
  readonly rows: number;
  readonly experts: number;
  readonly rank: number;
  readonly inputs: number;
  readonly out: number;
}
interface Form {
  readonly biases: "none" | "down" | "both";
  readonly activation?: "relu" | "gelu" | "silu";
}

/** A mixture over rows that chose these experts. */
function mixture(
  s: Sandbox,
  { rows, experts, rank, inputs, out }: Sizes,
  { biases, activation }: Form,
  chosen: readonly (readonly number[])[],
) {
  const k = chosen[0]!.length;
  const operands = [
    s.float(rows, inputs),
    s.given("int64", [rows, k], chosen.flat()),
    s.float(rows, k),
    s.float(experts, rank, inputs),
    biases === "none" ? undefined : s.float(experts, rank),
    s.float(experts, rank, out),
    ...(biases === "both" ? [s.float(experts, out)] : []),
  ];
  s.graph.output("y", s.graph.apply("Mixture", operands, activation ? { activation } : {})[0] as Float);
}

describe.each(WAYS)("%s", (way) => {
  const engine = lacking(cpu, ["Mixture", "Int8MatMul"], way);
  const expectRight = async (s: Sandbox) => {
    const { y } = await computed(s.graph, s.feeds, engine);
    expect(difference(y!, evaluate(s.graph, s.feeds).y!, FLOAT32)).toBeUndefined();
    return y!;
  };

  test.each(Array.from({ length: 24 }, (_, seed) => seed))("random shapes and forms, seed %i", async (seed) => {
    const random = seededRandom(1000 + seed);
    const between = (low: number, high: number) => low + random.integer(high - low + 1);
    const sizes = { rows: between(1, 40), experts: between(1, 12), rank: between(1, 5), inputs: between(1, 10), out: between(1, 10) };
    const k = between(1, sizes.experts);
    const chosen = Array.from({ length: sizes.rows }, () => [...shuffledNumbers(sizes.experts, random)].slice(0, k));
    const activation = ([undefined, "relu", "gelu", "silu"] as const)[random.integer(4)];
    const form: Form = { biases: (["none", "down", "both"] as const)[random.integer(3)]!, ...(activation && { activation }) };
    const s = new Sandbox("mixture", seed);
    mixture(s, sizes, form, chosen);
    await expectRight(s);
  });

  const ROWS = 30;
  const CHOICES: Readonly<Record<string, (row: number) => number[]>> = {
    "all rows choose one expert": () => [2],
    "all rows choose all experts": () => [3, 1, 0, 2],
    "the first and the last expert": (row) => (row % 2 === 0 ? [0, 3] : [3, 0]),
    "one row apart": (row) => (row === 17 ? [0] : [1]),
  };
  test.each(Object.entries(CHOICES))("%s", async (title, choose) => {
    const s = new Sandbox("choices", title);
    const sizes = { rows: ROWS, experts: 4, rank: 2, inputs: 5, out: 3 };
    mixture(
      s,
      sizes,
      { biases: "both" },
      Array.from({ length: ROWS }, (_, row) => choose(row)),
    );
    await expectRight(s);
  });

  test("a row's result does not depend on what its neighbors choose", async () => {
    const sizes = { rows: 24, experts: 6, rank: 4, inputs: 64, out: 48 };
    const rowsOf = async (others: (row: number) => number[]) => {
      const s = new Sandbox("neighbors");
      mixture(
        s,
        sizes,
        { biases: "none" },
        Array.from({ length: sizes.rows }, (_, row) => (row === 5 ? [1, 4] : others(row))),
      );
      return (await computed(s.graph, s.feeds, engine)).y!.data.slice(5 * sizes.out, 6 * sizes.out);
    };
    const alone = await rowsOf(() => [2, 3]);
    expect(await rowsOf(() => [4, 1])).toEqual(alone);
    expect(await rowsOf((row) => [row % 6, (row + 1) % 6])).toEqual(alone);
  });

  test("an engine runs one graph with any number of rows and experts", async () => {
    for (const [rows, experts] of [
      [1, 3],
      [6, 3],
      [50, 2],
    ] as const) {
      const s = new Sandbox("named", rows);
      const g = s.graph;
      const size = ["rows", 2] as const;
      const stacks = [g.float("a", "experts", 2, 6), undefined, g.float("b", "experts", 2, 7)];
      g.output(
        "y",
        g.apply("Mixture", [g.float("x", "rows", 6), g.int("chosen", ...size), g.float("weights", ...size), ...stacks], {})[0] as Float,
      );
      const random = seededRandom(5);
      const draw = (...shape: number[]) => ({
        dtype: "float32" as const,
        shape,
        data: Array.from({ length: shape.reduce((a, b) => a * b) }, () => Math.fround(random.normal())),
      });
      const chosen = { dtype: "int64" as const, shape: [rows, 2], data: Array.from({ length: 2 * rows }, (_, i) => i % experts) };
      Object.assign(s.feeds, { x: draw(rows, 6), chosen, weights: draw(rows, 2), a: draw(experts, 2, 6), b: draw(experts, 2, 7) });
      expect((await expectRight(s)).shape).toEqual([rows, 7]);
    }
  });
});
