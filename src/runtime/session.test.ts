import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { float32, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add, exp, less, mul } from "../graph/ops/elementwise.ts";
import { gather } from "../graph/ops/movement.ts";
import type { Graph } from "../graph/value.ts";
import { Session } from "./session.ts";

/** double = 2 x, sum = x + y, with an input that nothing uses. */
function arithmetic(): Graph {
  const g = createGraph("arithmetic");
  const [x, y] = [g.float("x", "batch"), g.float("y", "batch")];
  g.float("unused", "batch");
  g.output("double", mul(x, 2));
  g.output("sum", add(x, y));
  return g;
}

let session: Session;
beforeEach(async () => {
  session = await Session.load(arithmetic(), { threads: 1 });
});
afterEach(() => session.dispose());

describe("feeds and fetches", () => {
  test("every output is fetched, whole", async () => {
    const fetches = await session.run({ x: float32([2], [1, 2]), y: float32([2], [10, 20]) });
    expect(fetches).toEqual({ double: float32([2], [2, 4]), sum: float32([2], [11, 22]) });
  });

  test("names of inputs and outputs are known, without the inputs nothing uses", () => {
    expect([...session.inputs]).toEqual(["x", "y"]);
    expect(session.outputs).toEqual(["double", "sum"]);
  });

  test("only what is asked for is fetched", async () => {
    const fetches = await session.run({ x: float32([1], [3]), y: float32([1], [4]) }, ["double"]);
    expect(Object.keys(fetches)).toEqual(["double"]);
  });

  test("a feed that is missing is an error that names it and what was given", async () => {
    await expect(session.run({ x: float32([1], [3]) })).rejects.toThrow(/feed y is missing; given: x/);
  });

  test("feeds nothing uses are left out", async () => {
    const fetches = await session.run({ x: float32([1], [3]), y: float32([1], [4]), unused: float32([1], [0]), other: int64([1], [0]) });
    expect(fetches.sum).toEqual(float32([1], [7]));
  });

  test("a feed of another dtype or rank is an error that names it", async () => {
    await expect(session.run({ x: int64([1], [3]), y: float32([1], [4]) })).rejects.toThrow(/feed x is int64\[1\], not float32/);
    await expect(session.run({ x: float32([1, 1], [3]), y: float32([1], [4]) })).rejects.toThrow(/Invalid rank for input: x/);
  });

  test("a run leaves nothing behind for the next, whatever the sizes", async () => {
    const first = await session.run({ x: float32([1], [1]), y: float32([1], [1]) });
    const second = await session.run({ x: float32([3], [1, 2, 3]), y: float32([3], [0, 0, 1]) });
    expect(first.sum).toEqual(float32([1], [2]));
    expect(second.sum).toEqual(float32([3], [1, 2, 4]));
  });
});

test("integers and booleans come back as such", async () => {
  const g = createGraph("g");
  const ids = g.int("ids", 3);
  g.output("picked", gather(ids, g.constant(int64([2], [2, 0]))));
  g.output("small", less(ids, 5));
  await using other = await Session.load(g, { threads: 1 });
  const fetches = await other.run({ ids: int64([3], [9, 4, -(2 ** 40)]) });
  expect(fetches.picked).toEqual(int64([2], [-(2 ** 40), 9]));
  expect(fetches.small).toEqual({ dtype: "bool", shape: [3], data: Uint8Array.of(0, 1, 1) });
});

test("a session that was disposed of cannot run", async () => {
  const other = await Session.load(arithmetic(), { threads: 1 });
  await other.dispose();
  await expect(other.run({ x: float32([1], [3]), y: float32([1], [4]) })).rejects.toThrow(/already disposed/);
});

test("weights that are not laid out anew give the same numbers", async () => {
  const other = await Session.load(arithmetic(), { threads: 1, prepack: false });
  const feeds = { x: float32([1], [3]), y: float32([1], [4]) };
  expect(await other.run(feeds)).toEqual(await session.run(feeds));
  await other.dispose();
});

test("a profile is written when asked for", async () => {
  const folder = await mkdtemp(join(tmpdir(), "skein-profile-"));
  try {
    const g = createGraph("g");
    g.output("y", exp(g.float("x", 2)));
    const other = await Session.load(g, { threads: 1, profile: join(folder, "run") });
    await other.run({ x: float32([2], [0, 1]) });
    other.endProfiling();
    await other.dispose();
    const [file] = await readdir(folder);
    expect(JSON.parse(await readFile(join(folder, file!), "utf8")).some((event: { name: string }) => event.name.includes("Exp"))).toBe(
      true,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
