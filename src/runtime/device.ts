/** @file The choice of the hardware that computes, and short measurements of what it can do. */

import * as z from "zod";
import { EngineError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { reduceMax } from "../graph/ops/reduce.ts";
import { DEVICES, type Device, type Engine } from "./engine.ts";
import { notInstalled } from "./onnxruntime/library.ts";
import { cpu } from "./onnxruntime-node.ts";
import { ENGINES, engineNamed } from "./session.ts";

/** The hardware that computes a base. */
export const deviceOption = z
  .enum([...DEVICES, "auto"])
  .optional()
  .meta({
    description: "The hardware that computes: cpu, webgpu, another that this build of ONNX Runtime has, or auto: the fastest of them.",
    unset: "the environment variable SKEIN_DEVICE, else cpu",
  });

/** Why a device cannot be used. */
export interface Missing {
  readonly missing: string;
}

/** The engine of a device. "auto" measures each device for a moment and takes the fastest.
 *  @throws EngineError where the machine does not have the device. */
export async function engineFor(device: Device | "auto"): Promise<Engine> {
  if (device !== "auto") return engineNamed(device);
  const speeds: { engine: Engine; speed: Speed | Missing }[] = [];
  for (const engine of ENGINES) speeds.push({ engine, speed: await speedOf(engine, QUICK) }); // one at a time, as they share the memory
  return fastest(speeds);
}

/** What a device reaches in a product of float32 matrices. */
export interface Speed {
  /** 10^9 multiplications and additions a second, in a product of square matrices. */
  readonly gflops: number;
  /** 10^9 bytes of weights a second, in a product with one row. Decoding is bound by it. */
  readonly gigabytes: number;
}

/** The fastest engine by the geometric mean of both speeds: prompts and training are bound by the first, decoding by the second. Another device
 *  than the CPU must be a tenth faster, since its results differ by rounding. */
export function fastest(speeds: readonly { readonly engine: Engine; readonly speed: Speed | Missing }[]): Engine {
  const scored = speeds.map(({ engine, speed }) => ({
    engine,
    score: "missing" in speed ? 0 : Math.sqrt(speed.gflops * speed.gigabytes) * (engine === cpu ? 1.1 : 1),
  }));
  return scored.reduce((best, other) => (other.score > best.score ? other : best), { engine: cpu, score: 0 }).engine;
}

/** Widths of the measured matrices. */
const QUICK = { square: 512, row: 2048 };
export const THOROUGH = { square: 1024, row: 4096 };
const RUNS = 5;
/** Milliseconds after which no other run begins. */
const ENOUGH = 500;

/** The measured speed of a device, or why the machine does not have it. */
export async function speedOf(engine: Engine, { square, row }: typeof QUICK): Promise<Speed | Missing> {
  const missing = await notInstalled(engine.device);
  if (missing) return { missing };
  try {
    const flops = (2 * square ** 3) / (await secondsOf(engine, square, square));
    const bytes = (4 * row ** 2) / (await secondsOf(engine, 1, row));
    return { gflops: flops / 1e9, gigabytes: bytes / 1e9 };
  } catch (error) {
    if (error instanceof EngineError) return { missing: error.what };
    throw error;
  }
}

/** The shortest time of a product [rows, width] x [width, width] with constant weights. One number comes back. */
async function secondsOf(engine: Engine, rows: number, width: number): Promise<number> {
  const graph = createGraph("speed");
  const weights = graph.constant(filled(width, width));
  graph.output("most", reduceMax(matmul(graph.float("x", rows, width), weights), { axes: [0, 1] }));
  await using session = await engine.load(graph);
  const feeds = { x: filled(rows, width) };
  await session.run(feeds); // the first run allocates
  let best = Number.POSITIVE_INFINITY;
  const begun = performance.now();
  for (let run = 0; run === 0 || (run < RUNS && performance.now() - begun < ENOUGH); run++) {
    const start = performance.now();
    await session.run(feeds);
    best = Math.min(best, performance.now() - start);
  }
  return best / 1000;
}

function filled(rows: number, width: number): HostTensor<"float32"> {
  return float32(
    [rows, width],
    new Float32Array(rows * width).map((_, i) => ((i * 7919) % 101) / 101),
  );
}
