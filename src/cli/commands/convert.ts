/** @file `skein convert`: adapters and experts that PyTorch saved as pickles, written as PEFT's safetensors. */

import type { Command } from "commander";
import { counted } from "../../base/counted.ts";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";

export function addConvert(program: Command, io: Io, summary: string): void {
  subcommand(program, "convert <source> <out>", {
    summary,
    example: "skein convert downloads/lora/adapter_model.bin experts/lora",
  }).action(async (source: string, out: string, flags: CommonFlags) => {
    const { convertPeft } = await import("../../storage/convert-peft.ts");
    const { warnings, ...converted } = await convertPeft(source, out);
    warn(io, flags, warnings);
    show(io, flags, converted, `Wrote ${counted(converted.tensors, "tensor")} of ${converted.source} to ${out}.`);
  });
}
