/** @file Loads a command's base in the chosen precision, with progress while weights are quantized for the first time. */

import type { BaseOptions } from "../inference/base.ts";
import type { CommonFlags, Io } from "./io.ts";
import { progress } from "./progress.ts";

export interface PrecisionFlags extends CommonFlags {
  readonly precision?: BaseOptions["precision"];
}

/** The options of `loadModel`. */
export function baseOptions(io: Io, flags: PrecisionFlags): BaseOptions {
  const bar = progress(io, flags, { label: "quantize" });
  const onProgress = (done: number, total: number) => {
    bar.update({ step: done, steps: total });
    if (done === total) bar.done();
  };
  return { precision: flags.precision, onProgress };
}
