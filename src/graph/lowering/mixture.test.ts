/** @file Compares the mixture of experts in plain operators with the fused operator: random shapes, ties, barred experts, NaN. */

import { describe, expect, test } from "vitest";
import { lacking } from "../../../tests/engines.ts";
import { difference } from "../../../tests/reference/compare.ts";
import { computed, FLOAT32 } from "../../../tests/reference/engine.ts";
import { Sandbox } from "../../../tests/reference/sandbox.ts";
import { seededRandom } from "../../base/random.ts";
import { float32 } from "../../base/tensor.ts";
import { cpu } from "../../runtime/onnxruntime-node.ts";
import type { Float } from "../value.ts";
import type { Mixture } from "./mixture.ts";

const EXECUTIONS = ["masked", "gathered"] satisfies Mixture[];
const without = (mixture: Mixture) => lacking(cpu, ["MoE"], mixture);

interface Form {
  readonly k: number;
  readonly biases: "none" | "down" | "both";
  readonly activation?: "relu" | "gelu" | "silu";
}

/** A mixture of `experts` experts of this rank over `rows` rows of `width` numbers; scores are `given`, or random. */
function mixture(s: Sandbox, sizes: { rows: number; experts: number; rank: number; width: number }, form: Form, given?: readonly number[]) {
  const { rows, experts, rank, width } = sizes;
  const { k, biases, activation } = form;
  const x = s.float(rows, width);
  const scores = given ? s.given("float32", [rows, experts], given) : s.float(rows, experts);
  const a = s.float(experts, rank, width);
  const aBias = biases === "none" ? undefined : s.float(experts, rank);
  const b = s.float(experts, width, rank);
  const operands = [x, scores, a, aBias, b, ...(biases === "both" ? [s.float(experts, width)] : [])];
  s.graph.output("y", s.graph.apply("MoE", operands, { k, ...(activation && { activation }) })[0] as Float);
}

describe.each(EXECUTIONS)("%s", (execution) => {
  const same = async (s: Sandbox) => {
    const [fused, plain] = [await computed(s.graph, s.feeds, cpu), await computed(s.graph, s.feeds, without(execution))];
    expect(difference(plain.y!, fused.y!, FLOAT32)).toBeUndefined();
    return plain.y!;
  };

  test.each(Array.from({ length: 24 }, (_, seed) => seed))("random shapes and forms, seed %i", async (seed) => {
    const random = seededRandom(1000 + seed);
    const between = (low: number, high: number) => low + random.integer(high - low + 1);
    const sizes = { rows: between(1, 9), experts: between(1, 12), rank: between(1, 5), width: between(1, 10) };
    const activation = ([undefined, "relu", "gelu", "silu"] as const)[random.integer(4)];
    const form: Form = {
      k: between(1, sizes.experts),
      biases: (["none", "down", "both"] as const)[random.integer(3)]!,
      ...(activation && { activation }),
    };
    const s = new Sandbox("mixture", seed);
    mixture(s, sizes, form);
    await same(s);
  });

  const [NONE, MANY] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const ROWS: Readonly<Record<string, readonly number[]>> = {
    "all equal": [0, 0, 0, 0],
    "two equal in front": [1, 1, 0, 0],
    "two equal at the end": [0, 0, 1, 1],
    "equal but for the first": [0.5, 1, 1, 1],
    "all barred": [NONE, NONE, NONE, NONE],
    "one open": [NONE, 0, NONE, NONE],
    "two open": [0, NONE, 0.25, NONE],
    "NaN in front": [Number.NaN, 0, 0, 0],
    "NaN between": [0, 1, Number.NaN, 0],
    "all NaN": [Number.NaN, Number.NaN, Number.NaN, Number.NaN],
    "without bound": [MANY, 0, 0, 0],
    "all so low that none has a share of another": [-1e30, -1e30, -1e30, -1e30],
    "one far above": [200, 0, 0, 0],
    "as far apart as float32 goes": [-3e38, 3e38, -3e38, 0],
    "negative zero": [-0, 0, -0, 0],
  };
  describe.each([1, 2, 3, 4])("scores at the edge, k %i", (k) => {
    test.each(Object.entries(ROWS))("%s", async (title, row) => {
      const s = new Sandbox("edge", title);
      mixture(s, { rows: 2, experts: 4, rank: 2, width: 5 }, { k, biases: "both" }, [...row, ...row]);
      const y = await same(s);
      if (/barred|NaN|bound/.test(title)) expect(y.data.every((value) => value === 0)).toBe(true);
    });
  });

  test("rows and experts of named size", async () => {
    for (const rows of [1, 6]) {
      const s = new Sandbox("named", rows);
      const g = s.graph;
      const x = g.float("x", "rows", 6);
      const operands = [x, g.float("scores", "rows", "experts"), g.float("a", "experts", 2, 6), undefined, g.float("b", "experts", 6, 2)];
      g.output("y", g.apply("MoE", operands, { k: 2 })[0] as Float);
      const random = seededRandom(5);
      const draw = (...shape: number[]) => {
        const { data } = float32(shape);
        return { dtype: "float32" as const, shape, data: Array.from(data, () => Math.fround(random.normal())) };
      };
      Object.assign(s.feeds, { x: draw(rows, 6), scores: draw(rows, 3), a: draw(3, 2, 6), b: draw(3, 6, 2) });
      expect((await same(s)).shape).toEqual([rows, 6]);
    }
  });
});
