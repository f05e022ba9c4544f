import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ShapeError } from "../base/errors.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { Session } from "../runtime/session.ts";
import { createGraph } from "./graph.ts";
import { serialize } from "./onnx/serialize.ts";
import { add, exp, mul, neg } from "./ops/elementwise.ts";
import { matmul } from "./ops/linalg.ts";
import { concat, expand, flattenRows, gather, pad, range, reshape, shaped, slice, transpose } from "./ops/movement.ts";
import { rmsNorm, topK } from "./ops/reduce.ts";
import { graphText } from "./print.ts";
import { flattened } from "./sizes.ts";
import type { Graph, Value } from "./value.ts";

async function run(graph: Graph, feeds: Record<string, HostTensor>): Promise<Record<string, HostTensor>> {
  await using session = await Session.load(graph, { threads: 1 });
  return await session.run(feeds);
}

describe("the same computation is one value", () => {
  test("the same operator on the same operands is found again", () => {
    const g = createGraph("g");
    const [x, y] = [g.float("x", "batch", 3), g.float("y", 3)];
    expect(add(x, y)).toBe(add(x, y));
    expect(add(mul(x, 2), y)).toBe(add(mul(x, 2), y));
    expect(g.nodes).toHaveLength(3);
  });

  test("other operands, their order, another operator or another attribute make another value", () => {
    const g = createGraph("g");
    const [x, y] = [g.float("x", 3, 3), g.float("y", 3, 3)];
    const values = [
      add(x, y),
      add(y, x),
      mul(x, y),
      matmul(x, y),
      matmul(x, y, { transB: true }),
      matmul(x, y, { alpha: 2 }),
      pad(x, 0, 1, 0),
      pad(x, 1, 1, 0),
    ];
    expect(new Set(values).size).toBe(values.length);
  });

  test("every result of an operator with two is found again", () => {
    const x = createGraph("g").float("x", 4);
    expect(topK(x, 2)).toEqual(topK(x, 2));
    expect(topK(x, 2).indices).toBe(topK(x, 2).indices);
  });

  test("equal constants are one; dtype, shape and the sign of zero tell others apart", () => {
    const g = createGraph("g");
    const constants = [float32([2], [0, 1]), float32([2, 1], [0, 1]), float32([2], [-0, 1]), int64([2], [0, 1])].map((t) => g.constant(t));
    expect(new Set(constants).size).toBe(4);
    expect(g.constant(float32([2], [0, 1]))).toBe(constants[0]);
  });

  test("an input asked for twice is one, and must be the same", () => {
    const g = createGraph("g");
    expect(g.float("x", "batch")).toBe(g.float("x", "batch"));
    expect(() => g.float("x", "sequence")).toThrow(/input x is declared twice with different types/);
    expect(() => g.int("x", "batch")).toThrow(/input x is declared twice/);
  });

  test("a shared node stays where it was made first", () => {
    const g = createGraph("g");
    const x = g.float("x", 2);
    g.scope("first", () => exp(x));
    g.scope("second", () => exp(x));
    expect(g.nodes.map(({ scope }) => scope)).toEqual(["first"]);
  });
});

test("one name cannot stand for two tensors", () => {
  const g = createGraph("g");
  const x = g.float("x", 2);
  expect(() => g.file("x", "float32", [2], { file: "f", offset: 0, bytes: 8 })).toThrow(/x is both an input and an initializer/);
  g.file("w", "float32", [2], { file: "f", offset: 0, bytes: 8 });
  expect(() => g.float("w", 2)).toThrow(/w is both an input and an initializer/);
  expect(() => g.file("w", "float32", [2], { file: "f", offset: 8, bytes: 8 })).toThrow(/initializer w is declared twice/);
  expect(g.file("w", "float32", [2], { file: "f", offset: 0, bytes: 8 }).shape).toEqual([2]);
  expect(() => g.output("x", exp(x))).toThrow(/output x has the name of another value/);
  g.output("y", exp(x));
  expect(() => g.output("y", x)).toThrow(/output y is declared twice/);
});

test("values of two graphs do not mix", () => {
  const [g, h] = [createGraph("g"), createGraph("h")];
  expect(() => add(g.float("x", 2), h.float("y", 2))).toThrow(/operand y belongs to another graph/);
  expect(() => g.output("x", h.float("x", 2))).toThrow(/belongs to another graph/);
});

test("scopes name what is built inside them, also when building fails", () => {
  const g = createGraph("g");
  const x = g.float("x", 2);
  g.scope("outer", () => {
    g.scope("inner", () => exp(x));
    neg(x);
  });
  expect(() =>
    g.scope("broken", () => {
      throw new Error("no");
    }),
  ).toThrow("no");
  mul(x, x);
  expect(g.nodes.map(({ op, scope }) => `${op} ${scope}`)).toEqual(["Exp inner", "Neg outer", "Mul "]);
});

describe("serializing", () => {
  test("only what the outputs need is written and must be fed", async () => {
    const g = createGraph("g");
    const [x, unused] = [g.float("x", 2), g.float("unused", 2)];
    g.file("missing.weight", "float32", [2], { file: "/nowhere", offset: 0, bytes: 8 });
    exp(unused);
    g.output("y", neg(x));
    expect([...serialize(g).inputs]).toEqual(["x"]);
    expect((await run(g, { x: float32([2], [1, 2]) })).y!.data).toEqual(Float32Array.of(-1, -2));
  });

  test("one value under two names, an input and a constant can be outputs", async () => {
    const g = createGraph("g");
    const x = g.float("x", 2);
    for (const [name, value] of Object.entries({ a: exp(x), b: exp(x), same: x, x, constant: g.constant(float32([1], [7])) }))
      g.output(name, value);
    const y = await run(g, { x: float32([2], [0, 0]) });
    expect(Object.fromEntries(Object.entries(y).map(([name, { data }]) => [name, [...data]]))).toEqual({
      a: [1, 1],
      b: [1, 1],
      same: [0, 0],
      x: [0, 0],
      constant: [7],
    });
  });

  test("20,000 nodes are built and written in time that grows with their number", () => {
    const seconds = (count: number): number => {
      const start = performance.now();
      const g = createGraph("g");
      const x = g.float("x", 4);
      let y = x;
      for (let i = 0; i < count; i++) y = i % 2 === 0 ? add(y, x) : mul(y, 1 + i);
      g.output("y", y);
      serialize(g);
      return (performance.now() - start) / 1000;
    };
    seconds(1000);
    // Takes about half a second; quadratic growth would take minutes. The limit allows for a busy machine.
    expect(seconds(20_000)).toBeLessThan(8);
  });
});

describe("named sizes", () => {
  const ROWS = float32(
    [2, 3, 4],
    Array.from({ length: 24 }, (_, i) => i),
  );

  /** The result of `build` on x: [batch, sequence, 4] at run time [2, 3, 4]. */
  async function built(build: (x: Value<"float32">) => Value): Promise<HostTensor> {
    const g = createGraph("g");
    g.output("y", build(g.float("x", "batch", "sequence", 4)));
    return (await run(g, { x: ROWS })).y!;
  }

  test("a product of sizes is written as one name with the number last", () => {
    expect(flattened(["batch", 2, "sequence", 3])).toBe("batch*sequence*6");
    expect(flattened(["sequence", "batch"])).toBe("batch*sequence");
    expect(flattened([2, 3])).toBe(6);
    expect(flattened(["batch", 1])).toBe("batch");
    expect(flattened(["batch*sequence", "heads*2", 2])).toBe("batch*heads*sequence*4");
  });

  test("flattening and back again", async () => {
    const y = await built((x) => reshape(exp(flattenRows(x)), "batch", "sequence", 2, 2));
    expect(y.shape).toEqual([2, 3, 2, 2]);
    expect([...y.data][5]).toBeCloseTo(Math.exp(5), 3);
  });

  test("several sizes that are known only at run time", async () => {
    const y = await built((x) => reshape(x, "sequence", "batch", 2, 2));
    expect(y).toEqual({ ...ROWS, shape: [3, 2, 2, 2] });
    const z = await built((x) => reshape(transpose(x, [1, 0, 2]), 4, "sequence*batch"));
    expect(z.shape).toEqual([4, 6]);
  });

  test("repeating to a product of sizes, and counting up to it", async () => {
    const y = await built((x) => expand(gather(range(x.graph, "batch*sequence"), range(x.graph, "batch")), 2, "batch"));
    expect(y).toEqual(int64([2, 2], [0, 1, 0, 1]));
    expect(await built((x) => range(x.graph, flattened(x.shape)))).toEqual(int64([24], [...Array(24).keys()]));
  });

  test("a sum of sizes names itself and can be used", async () => {
    const y = await built((x) => {
      const both = concat([flattenRows(x), reshape(slice(x, 0, 0, 1, "first"), "first*sequence", 4)], 0, "all");
      return reshape(both, "all", 2, 2);
    });
    expect(y.shape).toEqual([9, 2, 2]);
    const z = await built((x) => range(x.graph, concat([transpose(x, [1, 0, 2]), transpose(x, [1, 0, 2])], 1).shape[1]!));
    expect(z.shape).toEqual([4]);
  });

  test("a size nobody has is an error that names it", () => {
    const g = createGraph("lonely");
    expect(() => range(g, "heads")).toThrow(ShapeError);
    expect(() => range(g, "heads")).toThrow(/no value of graph lonely has a size named "heads"/);
  });
});

describe("initializers in files", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), "skein-graph-")));
    await mkdir(join(folder, "shards", "deep"), { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** Writes 16 other bytes, then the tensor's numbers. */
  async function written(path: string, numbers: readonly number[]) {
    const data = Float32Array.from(numbers);
    await writeFile(path, Buffer.concat([Buffer.alloc(16, 0xff), Buffer.from(data.buffer)]));
    return { file: path, offset: 16, bytes: data.byteLength };
  }

  test("are read from their place, in subfolders too", async () => {
    const g = createGraph("g");
    const a = g.file("a", "float32", [2, 2], await written(join(folder, "a.bin"), [1, 2, 3, 4]));
    const b = g.file("b", "float32", [2], await written(join(folder, "shards", "b.bin"), [10, 20]));
    const c = g.file("c", "float32", [2], await written(join(folder, "shards", "deep", "c.bin"), [100, 200]));
    g.output("y", add(add(matmul(g.float("x", "rows", 2), a, { transB: true }), b), c));
    expect((await run(g, { x: float32([1, 2], [1, 1]) })).y).toEqual(float32([1, 2], [113, 227]));
  });

  test("may lie in folders that share only their parent, and be half a file", async () => {
    await mkdir(join(folder, "shards-2"), { recursive: true });
    const g = createGraph("g");
    const region = await written(join(folder, "shards", "b.bin"), [10, 20]);
    const b = g.file("b", "float32", [1], { ...region, offset: 20, bytes: 4 });
    const c = g.file("c", "float32", [1], await written(join(folder, "shards-2", "c.bin"), [5]));
    g.output("y", add(add(g.float("x", 1), b), c));
    expect((await run(g, { x: float32([1], [0.5]) })).y).toEqual(float32([1], [25.5]));
  });

  test("behind a link that leaves the folder work once the caller has resolved it", async () => {
    const region = await written(join(folder, "blob"), [3]);
    const link = join(folder, "shards", "linked.bin");
    await symlink("../blob", link);
    const linked = (file: string) => {
      const g = createGraph("g");
      g.output("y", add(g.float("x", 1), g.file("w", "float32", [1], { ...region, file })));
      return run(g, { x: float32([1], [1]) });
    };
    await expect(linked(link)).rejects.toThrow(/linked\.bin/);
    expect((await linked(await realpath(link))).y).toEqual(float32([1], [4]));
  });

  test("that are not there are an error that names the file", async () => {
    const g = createGraph("g");
    g.output("y", neg(g.file("w", "float32", [1], { file: join(folder, "gone.bin"), offset: 0, bytes: 4 })));
    await expect(run(g, {})).rejects.toThrow(/gone\.bin/);
  });
});

describe("printing", () => {
  test("inputs and outputs come first, then a line for each node that matters", () => {
    const g = createGraph("forward");
    const x = g.float("x", "batch", "sequence", 4);
    const weight = g.file("q.weight", "float32", [8, 4], { file: "/models/model.safetensors", offset: 0, bytes: 128 });
    const scale = g.constant(float32([9], Array(9).fill(1)));
    g.scope("unused", () => exp(x));
    const q = g.scope("block.0", () =>
      matmul(rmsNorm(x, g.constant(float32([4], [1, 1, 1, 0.1])), { epsilon: 1e-6 }), weight, { transB: true, alpha: 0.5 }),
    );
    g.output("heads", transpose(reshape(add(q, 1), "batch", "sequence", 2, 4), [0, 2, 1, 3]));
    g.output("scale", neg(scale));
    expect(graphText(g)).toBe(`graph forward
input  x: float32[batch, sequence, 4]
file   q.weight: float32[8, 4] at model.safetensors
const  const_0: float32[9]
output heads: float32[batch, 2, sequence, 4] = %transpose_10
output scale: float32[9] = %neg_11
%simplifiedlayernormalization_3: float32[batch, sequence, 4], %simplifiedlayernormalization_4: float32[batch, sequence, 1] = SimplifiedLayerNormalization(%x, [1, 1, 1, 0.1]) {epsilon=0.000001}  # block.0
%matmul_5: float32[batch, sequence, 8] = MatMul(%simplifiedlayernormalization_3, %q.weight) {transB, alpha=0.5}  # block.0
%add_7: float32[batch, sequence, 8] = Add(%matmul_5, 1)
%reshape_9: float32[batch, sequence, 2, 4] = Reshape(%add_7, [0, 0, 2, 4])
%transpose_10: float32[batch, 2, sequence, 4] = Transpose(%reshape_9) {order=[0, 2, 1, 3]}
%neg_11: float32[9] = Neg(%const_0)
`);
  });

  test("a graph without outputs is printed whole, absent operands as none", () => {
    const g = createGraph("draft");
    g.apply(
      "Mixture",
      [g.float("x", 3, 4), g.int("e", 3, 1), g.float("w", 3, 1), g.float("a", 2, 1, 4), undefined, g.float("b", 2, 1, 5)],
      {},
    );
    expect(graphText(g).split("\n").slice(1)).toEqual([
      "input  x: float32[3, 4]",
      "input  e: int64[3, 1]",
      "input  w: float32[3, 1]",
      "input  a: float32[2, 1, 4]",
      "input  b: float32[2, 1, 5]",
      "%mixture_0: float32[3, 5] = Mixture(%x, %e, %w, %a, none, %b)",
      "",
    ]);
  });
});

test("shaped lets a value through and finds swapped axes, by name, also where their sizes could be equal", () => {
  const g = createGraph("g");
  const x = g.float("x", "batch", "sequence", 4);
  expect(shaped(x, "batch", "sequence", 4)).toBe(x);
  expect(() => shaped(x, "sequence", "batch", 4)).toThrow(ShapeError);
  expect(() => shaped(transpose(x, [0, 2, 1]), "batch", "sequence", 4)).toThrow(
    /\[batch, sequence, 4\], got float32\[batch, 4, sequence\]/,
  );
  expect(g.nodes).toHaveLength(1);
});
