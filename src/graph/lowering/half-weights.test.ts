import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ENGINES_HERE } from "../../../tests/engines.ts";
import { expectClose } from "../../../tests/golden.ts";
import { seededRandom } from "../../base/random.ts";
import { float32, type HostTensor, int64 } from "../../base/tensor.ts";
import { float32ToFloat16 } from "../../checkpoint/dtypes.ts";
import type { Engine } from "../../runtime/engine.ts";
import { cpu } from "../../runtime/onnxruntime-node.ts";
import { createGraph } from "../graph.ts";
import { toFloat } from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import { gather } from "../ops/movement.ts";
import type { Graph } from "../value.ts";
import { heldInHalf } from "./half-weights.ts";

const [IN, OUT] = [24, 40];
let folder: string;
let file: string;
const random = seededRandom(6);
const numbers = (count: number) => Float32Array.from({ length: count }, () => random.normal());

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-half-"));
  file = join(folder, "weights.bin");
  await writeFile(file, new Uint8Array(float32ToFloat16(numbers(OUT * IN)).buffer));
});
afterAll(() => rm(folder, { recursive: true }));

/** Both forms of a product over one weight [OUT, IN], and rows of it. */
function products(): Graph {
  const graph = createGraph("half");
  const weight = toFloat(graph.file("w", "float16", [OUT, IN], { file, offset: 0, bytes: 2 * OUT * IN }));
  graph.output("forward", matmul(graph.float("x", "rows", IN), weight, { transB: true, alpha: 0.5 }));
  graph.output("backward", matmul(graph.float("dy", "rows", OUT), weight));
  graph.output("rows", gather(weight, graph.int("ids", "rows")));
  return graph;
}
const feeds = () => ({ x: float32([3, IN], numbers(3 * IN)), dy: float32([3, OUT], numbers(3 * OUT)), ids: int64([3], [7, 0, 39]) });

const WITH_FLOAT16: Engine[] = [];
for (const engine of ENGINES_HERE) if (await engine.hasFloat16()) WITH_FLOAT16.push(engine);
const FORMS = WITH_FLOAT16.flatMap((engine) => [false, true].map((transposes) => ({ name: engine.name, engine, transposes })));

test.each(FORMS)(
  "on $name held weights give the numbers of widened ones (transposed copies: $transposes)",
  async ({ engine, transposes }) => {
    const given = feeds();
    await using expected = await cpu.load(products());
    await using held = await engine.load(heldInHalf(products(), { transposes }));
    const [wanted, got] = [await expected.run(given), await held.run(given)];
    // Widening is exact; only the order of 40 summands differs.
    for (const [name, tensor] of Object.entries(wanted))
      expectClose(got[name] as HostTensor<"float32">, tensor as HostTensor<"float32">, 1e-5);
  },
);

/** How many float16 numbers each run widens. */
async function widenedIn(name: string, graph: Graph): Promise<number> {
  const prefix = join(folder, name);
  const session = await cpu.load(graph, { profile: prefix, threads: 1 });
  await session.run(feeds());
  session.endProfiling();
  await session.dispose();
  const [file] = (await readdir(folder)).filter((other) => other.startsWith(`${name}_`));
  const events = JSON.parse(await readFile(join(folder, file!), "utf8")) as { args?: { op_name?: string; output_size?: string } }[];
  const casts = events.filter(({ args }) => args?.op_name === "Cast" && args.output_size !== undefined);
  return casts.reduce((sum, { args }) => sum + Number(args!.output_size) / 4, 0);
}

test("the engine widens held weights in each run, and others once when it loads them", async () => {
  expect(await widenedIn("wide", products())).toBe(0);
  // One copy for both products, or two, and the rows that are looked up.
  expect(await widenedIn("held", heldInHalf(products()))).toBe(OUT * IN + 3 * IN);
  expect(await widenedIn("turned", heldInHalf(products(), { transposes: true }))).toBe(2 * OUT * IN + 3 * IN);
});

test("a graph without float16 weights stays as it is", () => {
  const graph = createGraph("floats");
  graph.output("y", matmul(graph.float("x", "rows", 2), graph.constant(float32([2, 2]))));
  expect(heldInHalf(graph)).toBe(graph);
});
