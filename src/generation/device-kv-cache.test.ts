/** @file The cache on a device holds what the cache on the host holds, and frees what nobody refers to. */

import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { ENGINES_HERE, keeping } from "../../tests/engines.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { loadModel } from "../library/model.ts";
import { type Engine, isOnDevice, type Tensor } from "../runtime/engine.ts";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { DeviceKvCache } from "./device-kv-cache.ts";
import { KvCache } from "./kv-cache.ts";
import { KvGraphs } from "./kv-graphs.ts";
import type { KvBuffer, KvRow, KvStore } from "./kv-store.ts";
import { randomPool } from "./woven.test-helper.ts";

const DEMO = fileURLToPath(new URL("../../assets/demo-base", import.meta.url));
const ENGINES = [keeping, ...ENGINES_HERE.filter((engine) => engine !== cpu)];
/** A whole model takes long on a software GPU: there only npm run check:webgpu runs it. */
const OF_MODELS = process.env.SKEIN_DEVICE === "webgpu" ? ENGINES : [keeping];
const BUFFERS: readonly KvBuffer[] = [2, 1].map((heads, i) => ({ fed: `past.${i}`, fetched: `new.${i}`, heads, size: 3 }));

function graphsOf(engine: Engine): KvGraphs {
  return new KvGraphs(BUFFERS, (name, build, keep) => {
    const graph = createGraph(name);
    build(graph);
    return engine.load(graph, { keep, threads: 1 });
  });
}

/** Random new tokens [rows, heads, tokens, 3], on the host and on the device. */
async function freshOn(engine: Engine, random: Random, rows: number, tokens: number) {
  const host = Object.fromEntries(
    BUFFERS.map(({ fetched, heads, size }) => {
      const count = rows * heads * tokens * size;
      return [fetched, float32([rows, heads, tokens, size], Float32Array.from({ length: count }, random.normal))];
    }),
  );
  const device: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(host)) device[name] = await engine.upload(tensor);
  return { host, device };
}

/** The real numbers of each row and head. */
async function contents(cache: KvStore): Promise<number[][]> {
  await cache.settle?.();
  const rows: number[][] = [];
  for (const { fed, heads, size } of BUFFERS) {
    const tensor = cache.feeds[fed]!;
    const { data, shape } = (isOnDevice(tensor) ? await tensor.read() : tensor) as HostTensor<"float32">;
    const capacity = shape[2]!;
    cache.lengths.forEach((length, row) => {
      for (let head = row * heads; head < (row + 1) * heads; head++)
        rows.push([...data.subarray(head * capacity * size, (head * capacity + length) * size)]);
    });
  }
  return rows;
}

describe.each(ENGINES)("on $name", (engine) => {
  test("whatever happens to rows, the cache holds what one on the host holds", async () => {
    const random = seededRandom(4);
    const before = engine.held().tensors;
    const graphs = graphsOf(engine);
    const host = new KvCache(BUFFERS, { lengths: "lengths" });
    const device = new DeviceKvCache(graphs, { lengths: "lengths" });
    const kept: { host: KvRow; device: KvRow }[] = [];
    for (let round = 0; round < 60; round++) {
      const [rows, choice] = [host.lengths.length, random.integer(10)];
      const row = random.integer(Math.max(1, rows));
      const onBoth = (change: (cache: KvStore) => void) => {
        for (const cache of [host, device]) change(cache);
      };
      if (rows === 0 || choice === 0) onBoth((cache) => cache.add());
      else if (choice === 1) onBoth((cache) => cache.remove(row));
      else if (choice === 2) onBoth((cache) => cache.add(cache.row(row), Math.floor(host.lengths[row]! / 2)));
      else if (choice === 3) kept.push({ host: host.copyOf(row), device: device.copyOf(row) });
      else if (choice === 4 && kept.length > 0) {
        const copy = kept.shift()!;
        host.add(copy.host);
        device.add(copy.device);
        copy.device.dispose?.();
      } else if (choice === 5 && round % 3 === 0) onBoth((cache) => cache.clear(row));
      else {
        const tokens = [1, 1, 5, 40][random.integer(4)]!;
        const counts = Array.from({ length: rows }, () => random.integer(tokens + 1));
        counts[row] = tokens;
        const padding = random.integer(2) === 0 ? "before" : "behind";
        const fresh = await freshOn(engine, random, rows, tokens);
        host.write(fresh.host, counts, padding);
        await device.settle();
        await device.write(fresh.device, counts, padding);
      }
      expect(device.lengths).toEqual(host.lengths);
      if (host.lengths.length > 0 && round % 4 === 0) expect(await contents(device)).toEqual(await contents(host));
    }
    expect(Math.max(...host.lengths)).toBeGreaterThan(64); // it has grown
    expect(await contents(device)).toEqual(await contents(host));
    for (const copy of kept) copy.device.dispose?.();
    device.empty();
    await new Promise((resolve) => setTimeout(resolve)); // blocks are disposed of once they are made
    expect(engine.held().tensors).toBe(before);
  });
});

describe.each(OF_MODELS)("on $name", (engine) => {
  test("completions are those of the CPU, and keys and values stay until their model is disposed", async () => {
    const before = engine.held().tensors;
    const texts: unknown[] = [];
    for (const each of [cpu, engine]) {
      await using base = await loadModel(DEMO, { engine: each });
      const model = base.withWoven(randomPool(base));
      const completions: unknown[] = [];
      const during = new Set<number>();
      for await (const event of model.generate(["opposite : 1. hot 2. big", "capital : 1. spain"], { maxNewTokens: 5, n: 2 })) {
        during.add(each.held().tensors - before);
        if (event.kind === "completion") completions.push([event.text, event.ids]);
      }
      if (each === engine) expect(Math.max(...during)).toBeGreaterThan(0);
      else expect([...during]).toEqual([0]);
      texts.push(completions);
    }
    expect(texts[1]).toEqual(texts[0]);
    await new Promise((resolve) => setTimeout(resolve));
    expect(engine.held().tensors).toBe(before);
  });
});
