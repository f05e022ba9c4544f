/** @file Where the operators of a graph ran, from ONNX Runtime's profile. */

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine } from "../runtime/engine.ts";
import type { SessionOptions } from "../runtime/session.ts";

/** The kernels of a computation. */
export interface Placement {
  /** How many ran on the device. */
  readonly device: number;
  /** The operators with float operands that ran on the CPU: their operands left the device and came back. Operators on sizes, positions and
   *  masks, which are integers, belong on the CPU. */
  readonly floatsOnHost: readonly string[];
}

interface Event {
  readonly cat: string;
  readonly name: string;
  readonly args: { readonly provider?: string; readonly op_name?: string; readonly input_type_shape?: readonly Record<string, unknown>[] };
}

const INTEGERS = new Set(["int64", "int32", "bool"]);

/** The result of `use`, and the kernels that run during it. Its sessions must be disposed when it ends, since only then is their profile
 *  written. */
export async function placed<T>(
  engine: Engine,
  use: (options: SessionOptions) => Promise<T>,
): Promise<{ readonly result: T; readonly placement: Placement }> {
  const folder = await mkdtemp(join(tmpdir(), "skein-placement-"));
  try {
    const result = await use({ engine, profile: join(folder, "run") });
    const files = await Promise.all((await readdir(folder)).map((file) => readFile(join(folder, file), "utf8")));
    const kernels = files
      .flatMap((text) => JSON.parse(text) as Event[])
      .filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
    const host = kernels.filter(({ args }) => args.provider === "CPUExecutionProvider");
    const ofFloats = host.filter(({ args }) => args.input_type_shape?.some((input) => !INTEGERS.has(Object.keys(input)[0] ?? "int64")));
    const placement = { device: kernels.length - host.length, floatsOnHost: ofFloats.map(({ args }) => args.op_name ?? "?") };
    return { result, placement };
  } finally {
    await rm(folder, { recursive: true });
  }
}
