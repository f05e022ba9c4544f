import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ENGINES_HERE, webgpuMissing } from "../../tests/engines.ts";
import { EngineError, OptionError } from "../base/errors.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add, addInt, cast, mul } from "../graph/ops/elementwise.ts";
import type { Graph } from "../graph/value.ts";
import type { DeviceTensor, Engine } from "./engine.ts";
import { openLibrary } from "./onnxruntime/library.ts";
import { cpu, webgpu } from "./onnxruntime-node.ts";
import { engineNamed, Session } from "./session.ts";

/** double = 2 x, more = x + 1 */
function arithmetic(): Graph {
  const g = createGraph("arithmetic");
  const x = g.float("x", "rows", 2);
  g.output("double", mul(x, 2));
  g.output("more", add(x, 1));
  return g;
}
const NUMBERS = float32([2, 2], [1, 2, 3, 4]);

test.skipIf(webgpuMissing)(`WebGPU is tested too ${webgpuMissing ? `(skipped: ${webgpuMissing})` : ""}`, () => {
  expect(ENGINES_HERE).toContain(webgpu);
});

describe.each(ENGINES_HERE)("tensors that stay on $name", (engine) => {
  test("a kept output can be read, and fed to the same session and to others", async () => {
    await using session = await engine.load(arithmetic(), { keep: ["double"], threads: 1 });
    const { fetched, kept } = await session.runKeeping({ x: NUMBERS });
    expect(fetched).toEqual({ more: float32([2, 2], [2, 3, 4, 5]) });
    expect(Object.keys(kept)).toEqual(["double"]);
    using double = kept.double!;
    expect({ dtype: double.dtype, shape: double.shape }).toEqual({ dtype: "float32", shape: [2, 2] });
    expect(await double.read()).toEqual(float32([2, 2], [2, 4, 6, 8]));
    const again = await session.runKeeping({ x: double }, []);
    using four = again.kept.double!;
    expect(again.fetched).toEqual({});
    await using other = await engine.load(arithmetic(), { threads: 1 });
    expect((await other.run({ x: four }, ["more"])).more).toEqual(float32([2, 2], [5, 9, 13, 17]));
  });

  test("a kept output outlives its session", async () => {
    const session = await engine.load(arithmetic(), { keep: ["double"], threads: 1 });
    const { kept } = await session.runKeeping({ x: NUMBERS });
    await session.dispose();
    using double = kept.double!;
    expect(await double.read()).toEqual(float32([2, 2], [2, 4, 6, 8]));
  });

  test("a run that keeps nothing fetches everything that is not kept", async () => {
    await using session = await engine.load(arithmetic(), { keep: ["double"], threads: 1 });
    expect(await session.run({ x: NUMBERS })).toEqual({ more: float32([2, 2], [2, 3, 4, 5]) });
    await expect(session.run({ x: NUMBERS }, ["double"])).rejects.toThrow(/output double stays on the device/);
  });

  test("host tensors can be put on the device, integers too", async () => {
    using large = await engine.upload(int64([2], [2 ** 40, -1]));
    const g = createGraph("sum");
    g.output("y", addInt(g.int("x", 2), g.int("x", 2)));
    await using session = await engine.load(g, { threads: 1 });
    expect((await session.run({ x: large })).y).toEqual(int64([2], [2 ** 41, -2]));
    expect(await large.read()).toEqual(int64([2], [2 ** 40, -1]));
  });

  test("a copy that was read is not changed by what happens to the device", async () => {
    const tensor: DeviceTensor = await engine.upload(NUMBERS);
    const copy = await tensor.read();
    tensor.dispose();
    tensor.dispose(); // a second call is allowed
    expect(copy).toEqual(NUMBERS);
  });

  test("a tensor that was disposed of, or of another dtype, is an error that names the feed", async () => {
    await using session = await engine.load(arithmetic(), { threads: 1 });
    const tensor = await engine.upload(NUMBERS);
    tensor.dispose();
    await expect(session.run({ x: tensor })).rejects.toThrow(/feed x was disposed of/);
    await expect(tensor.read()).rejects.toThrow(/feed x was disposed of/);
    using integers = await engine.upload(int64([2, 2], [1, 2, 3, 4]));
    await expect(session.run({ x: integers })).rejects.toThrow(/feed x is int64\[2,2\], not float32/);
  });

  test("an output that the graph does not have cannot be kept", async () => {
    await expect(engine.load(arithmetic(), { keep: ["triple"] })).rejects.toThrow(/output triple is to stay on the device/);
  });
});

test.skipIf(webgpuMissing)("a tensor of one engine is not fed to another", async () => {
  using tensor = await webgpu.upload(NUMBERS);
  await using session = await cpu.load(arithmetic(), { threads: 1 });
  await expect(session.run({ x: tensor })).rejects.toThrow(/feed x lives on the engine webgpu, not on cpu/);
});

test.skipIf(webgpuMissing)(
  "on WebGPU numbers in 4 bits are weights; where a graph computes them, loading it is an error that names them",
  async () => {
    const g = createGraph("four bits");
    const numbers = cast(g.int("x", 2, 32), "uint4");
    g.output("y", g.apply("DequantizeLinear", [numbers, g.float("scales", 2, 2)], { block: 16 })[0]!);
    await expect(webgpu.load(g)).rejects.toThrow(/uint4/);
  },
);

test("a session uses the engine that its options name", async () => {
  const loaded: string[] = [];
  const counting: Engine = {
    ...cpu,
    load(graph, options) {
      loaded.push(graph.name);
      return cpu.load(graph, options);
    },
  };
  await using session = await Session.load(arithmetic(), { engine: counting, threads: 1 });
  expect(loaded).toEqual(["arithmetic"]);
  expect((await session.run({ x: NUMBERS })).double).toEqual(float32([2, 2], [2, 4, 6, 8]) satisfies HostTensor);
});

test("engines have names", () => {
  expect([engineNamed("cpu"), engineNamed("webgpu")]).toEqual([cpu, webgpu]);
  expect(() => engineNamed("abacus")).toThrow(OptionError);
  expect(() => engineNamed("abacus")).toThrow(/no engine named "abacus"[\s\S]*cpu, webgpu/);
});

describe("a native library that cannot be loaded is an error that says what to install", () => {
  test("where the package is missing", async () => {
    const name = "onnxruntime-node-that-nobody-installed";
    await expect(openLibrary(() => import(name))).rejects.toThrow(EngineError);
    await expect(openLibrary(() => import(name))).rejects.toThrow(
      /ONNX Runtime, cannot be loaded: .*onnxruntime-node-that[\s\S]*npm install/,
    );
  });

  test("where its files are broken", async () => {
    const folder = await mkdtemp(join(tmpdir(), "skein-engine-"));
    try {
      const file = join(folder, "binding.node");
      await writeFile(file, "no library");
      await expect(openLibrary(async () => process.dlopen({ exports: {} }, file))).rejects.toThrow(/cannot be loaded: .*binding\.node/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
