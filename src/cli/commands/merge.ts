/** @file `skein merge`: merges several adapters into one. */

import type { Command } from "commander";
import * as z from "zod";
import type { LoraAdapter } from "../../adapters/adapter.ts";
import { mergeOptions } from "../../adapters/merge-options.ts";
import type { ModuleSizes } from "../../adapters/modules.ts";
import { subcommand } from "../command.ts";
import { base } from "../common-options.ts";
import { expertFolders } from "../expert-folders.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";

const mergeFlags = z.strictObject({ base, out: z.string().meta({ description: "Folder of the merged adapter.", value: "dir" }) });
type Flags = CommonFlags & z.input<typeof mergeFlags>;

export function addMerge(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "merge <adapters...>", {
    summary,
    example: "skein merge experts/nouns experts/verbs --base models/t5 --method average --out merged",
  });
  withOptions(command, mergeFlags);
  withOptions(command, mergeOptions).action(async (given: readonly string[], flags: Flags) => {
    const folders = await expertFolders(io, flags, given);
    const { mergeAdapters } = await import("../../adapters/merge.ts");
    const { saveAdapter } = await import("../../storage/peft-save.ts");
    const { openBase } = await import("../../inference/base.ts");
    const { checkFolder } = await import("../../checkpoint/atomic.ts");
    const { base, out } = flags;
    const { method: kind, weights, ...options } = mergeOptions.parse(optionsFrom(mergeOptions, flags));
    await checkFolder(out);
    const { modules, fingerprint, warnings: notes } = await openBase(base);
    warn(io, flags, notes);
    const print = await fingerprint();
    const adapters: LoraAdapter[] = [];
    for (const folder of folders) adapters.push(await loraAdapter(folder, modules, print));
    warn(
      io,
      flags,
      adapters.flatMap(({ warnings }, i) => warnings.map((warning) => `${folders[i]}: ${warning}`)),
    );
    const merged = mergeAdapters(adapters, { kind, ...options }, weights);
    await saveAdapter(out, merged, { baseName: base, baseFingerprint: print });
    const size = merged.modules.size;
    show(io, flags, { out, adapters: folders, modules: size }, `Merged ${folders.length} adapters over ${size} modules into ${out}.`);
  });
}

async function loraAdapter(folder: string, modules: ModuleSizes, fingerprint: string): Promise<LoraAdapter> {
  const { AdapterError } = await import("../../base/errors.ts");
  const { loadAdapter } = await import("../../storage/peft.ts");
  const adapter = await loadAdapter(folder, modules, { fingerprint });
  if (adapter.kind === "lora") return adapter;
  throw new AdapterError({
    code: "adapter-kind",
    data: { kind: adapter.kind },
    what: `Adapters of kind ${adapter.kind} have no products to merge.`,
    where: folder,
    fix: "Merge LoRA adapters.",
  });
}
