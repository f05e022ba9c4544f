/** @file Loads a command's base in the chosen precision and on the chosen device, with progress while weights are quantized for the first time. */

import type { BaseOptions } from "../inference/base.ts";
import type { CommonFlags, Io } from "./io.ts";
import { progress } from "./progress.ts";

export interface BaseFlags extends CommonFlags {
  readonly precision?: BaseOptions["precision"];
  readonly device?: BaseOptions["device"];
}

/** The options of `loadModel`. */
export function baseOptions(io: Io, flags: BaseFlags): BaseOptions {
  const bar = progress(io, flags, { label: "quantize" });
  const onProgress = (done: number, total: number) => {
    bar.update({ step: done, steps: total });
    if (done === total) bar.done();
  };
  return { precision: flags.precision, device: flags.device, onProgress };
}
