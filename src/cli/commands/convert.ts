/** @file `skein convert`: converts adapters, bases and pools that PyTorch saved as pickles to safetensors. */

import type { Command } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { progress } from "../progress.ts";
import { withOptions } from "../schema-options.ts";

const FORMS = ["peft", "base", "phatgoose", "average-activation", "merged-experts"] as const;

const convertFlags = z.strictObject({
  from: z.enum(FORMS).default("peft").meta({
    description: "What the files hold: a PEFT adapter, a base model (pytorch_model.bin), or a checkpoint of the PHATGOOSE authors.",
    value: "form",
  }),
  base: z.string().optional().meta({
    description: "The base model of the authors' experts, which is checked and recorded: a folder or a Hugging Face id.",
    value: "dir",
  }),
  names: z.array(z.string()).optional().meta({ description: "The names of the authors' experts, in order.", unset: "the authors'" }),
});
type Flags = CommonFlags & z.output<typeof convertFlags>;

export function addConvert(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "convert <source> <out>", {
    summary,
    example:
      "skein convert downloads/lora/adapter_model.bin experts/lora\n$ skein convert best.pt flan-pool --from phatgoose --base models/t5-xl-lm-adapt",
  });
  withOptions(command, convertFlags).action(async (source: string, out: string, given: Flags) => {
    const flags = { ...given, from: given.from ?? "peft" };
    await refuseUnused(flags);
    if (flags.from === "peft") return convertAdapter(io, flags, source, out);
    if (flags.from === "base") return convertModel(io, flags, source, out);
    if (flags.from === "merged-experts") return convertMerged(io, flags, source, out);
    return convertPool(io, flags, source, out);
  });
}

async function convertAdapter(io: Io, flags: Flags, source: string, out: string): Promise<void> {
  const { convertPeft } = await import("../../storage/convert-peft.ts");
  const { warnings, ...converted } = await convertPeft(source, out);
  warn(io, flags, warnings);
  show(io, flags, converted, `Wrote ${counted(converted.tensors, "tensor")} of ${converted.source} to ${out}.`);
}

async function convertModel(io: Io, flags: Flags, source: string, out: string): Promise<void> {
  const { convertBase } = await import("../../storage/convert-base.ts");
  const converted = await convertBase(source, out);
  show(io, flags, converted, `Wrote ${counted(converted.tensors, "tensor")}, ${(converted.bytes / 1e6).toFixed(1)} MB, to ${out}.`);
}

async function convertMerged(io: Io, flags: Flags, source: string, out: string): Promise<void> {
  const { convertMergedExperts } = await import("../../storage/convert-phatgoose.ts");
  const { warnings, ...converted } = await convertMergedExperts(source, out, await baseOf(flags));
  warn(io, flags, warnings);
  show(io, flags, converted, `Wrote one adapter over ${counted(converted.modules, "module")} to ${out}.`);
}

async function convertPool(io: Io, flags: Flags, source: string, out: string): Promise<void> {
  const { convertPhatgoose } = await import("../../storage/convert-phatgoose.ts");
  const bar = progress(io, flags, { label: "convert" });
  const { warnings, ...converted } = await convertPhatgoose(source, out, flags.from === "phatgoose" ? "gates" : "activations", {
    ...(await baseOf(flags)),
    ...(flags.names && { names: flags.names }),
    onExpert: (step, steps, note) => bar.update({ step, steps, note }),
  }).finally(() => bar.done());
  warn(io, flags, warnings);
  const kept = converted.kept > 0 ? ` (${converted.kept} existed before)` : "";
  show(io, flags, converted, `Made ${out} with ${counted(converted.experts.length, "expert")}${kept}.`);
}

async function baseOf({ base }: Flags) {
  if (base === undefined) return {};
  const { openBase } = await import("../../inference/base.ts");
  const { modules, fingerprint } = await openBase(base);
  return { base: { name: base, fingerprint: await fingerprint(), modules } };
}

async function refuseUnused({ from, base, names }: Flags): Promise<void> {
  const unused =
    /^(?:peft|base)$/.test(from) && base !== undefined
      ? "base"
      : names !== undefined && /^(?:peft|base|merged-experts)$/.test(from)
        ? "names"
        : "";
  if (unused === "") return;
  const { OptionError } = await import("../../base/errors.ts");
  throw new OptionError({
    code: "option-conflict",
    data: { options: [unused, "from"] },
    what: `--${unused} has no effect with --from ${from}.`,
    where: `--${unused}`,
    fix: `Omit it, or name the form of the checkpoint with --from ${FORMS.slice(2).join(", ")}.`,
  });
}
