/** @file `skein merge`: several adapters made into one. */

import { type Command, Option } from "commander";
import type { LoraAdapter } from "../../adapters/adapter.ts";
import type { MergeMethod } from "../../adapters/merge.ts";
import type { ModuleSizes } from "../../adapters/modules.ts";
import { number, numbers, subcommand, wholeNumber } from "../command.ts";
import { expertFolders } from "../expert-folders.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";

interface Flags extends CommonFlags {
  readonly base: string;
  readonly out: string;
  readonly method: MergeMethod["kind"];
  readonly weights?: readonly number[];
  readonly rank?: number;
  readonly density?: number;
  readonly majoritySign?: "total" | "frequency";
  readonly rescale: boolean;
  readonly seed?: number;
}

export function addMerge(program: Command, io: Io): void {
  subcommand(program, "merge <adapters...>", {
    summary: "Merge adapters of one base model into one adapter.",
    example: "skein merge experts/nouns experts/verbs --base models/t5 --method average --out merged",
  })
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .requiredOption("--out <dir>", "folder of the merged adapter")
    .option(
      "--method <name>",
      "average, cat, linear, ties, dare_linear, dare_ties, magnitude_prune, svd; the last four also with _svd",
      "average",
    )
    .option("--weights <numbers>", "one weight per adapter, comma-separated (default: 1 each; average takes none)", numbers)
    .option("--rank <r>", "rank to cut the result to (average and the svd methods)", wholeNumber(1))
    .option("--density <share>", "share of entries kept, 0 to 1 (ties, dare and magnitude_prune)", number)
    .addOption(new Option("--majority-sign <how>", "ties: signs by the sum, or by counting").choices(["total", "frequency"]))
    .option("--no-rescale", "dare: keep entries as they are, as PEFT 0.12 does, instead of dividing them by the density")
    .option("--seed <n>", "seed of dare's choice", wholeNumber(0))
    .action(async (given: readonly string[], flags: Flags) => {
      const folders = await expertFolders(io, flags, given);
      const { mergeAdapters } = await import("../../adapters/merge.ts");
      const { saveAdapter } = await import("../../storage/peft-save.ts");
      const { openBase } = await import("../../inference/base.ts");
      const { checkFolder } = await import("../../checkpoint/atomic.ts");
      const { base, out, method: kind, weights, rank, density, majoritySign, rescale, seed } = flags;
      await checkFolder(out);
      const { modules, fingerprint } = await openBase(base);
      const print = await fingerprint();
      const adapters: LoraAdapter[] = [];
      for (const folder of folders) adapters.push(await loraAdapter(folder, modules, print));
      warn(
        io,
        flags,
        adapters.flatMap(({ warnings }, i) => warnings.map((warning) => `${folders[i]}: ${warning}`)),
      );
      const merged = mergeAdapters(adapters, { kind, rescale, ...defined({ rank, density, majoritySign, seed }) }, weights);
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

function defined<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };
}
