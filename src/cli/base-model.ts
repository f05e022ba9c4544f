/** @file Loads a command's base in the chosen precision and on the chosen device, with progress while weights are quantized for the first
 *  time, and says how much memory its pool will take. */

import { counted } from "../base/counted.ts";
import type { BaseOptions } from "../inference/base.ts";
import type { WovenOptions } from "../methods/open.ts";
import type { CommonFlags, Io } from "./io.ts";
import { progress } from "./progress.ts";

const WORTH_SAYING = 1e9; // bytes of a pool that a log mentions too

export interface BaseFlags extends CommonFlags {
  readonly precision?: BaseOptions["precision"];
  readonly device?: BaseOptions["device"];
}

/** The options of `loadModel`. */
export function baseOptions(io: Io, flags: BaseFlags): BaseOptions & Pick<WovenOptions, "onPool"> {
  const bar = progress(io, flags, { label: "quantize" });
  const onProgress = (done: number, total: number) => {
    bar.update({ step: done, steps: total });
    if (done === total) bar.done();
  };
  const onPool: NonNullable<WovenOptions["onPool"]> = ({ experts, bytes }) => {
    if (!io.terminal && bytes < WORTH_SAYING) return;
    const text = `pool: ${counted(experts, "expert")} in memory, ${(bytes / 1e6).toFixed(0)} MB`;
    io.err(flags.json ? `${JSON.stringify({ pool: { experts, bytes } })}\n` : `${text}\n`);
  };
  return { precision: flags.precision, device: flags.device, onProgress, onPool };
}
