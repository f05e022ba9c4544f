/** @file `skein cache`: what is computed once and kept on disk, the quantized weights of base models and the prototypes of experts. */

import type { Command } from "commander";
import { counted } from "../../base/counted.ts";
import type { KeptWeights } from "../../quantization/store.ts";
import type { KeptPrototypes } from "../../storage/kept-prototypes.ts";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, table } from "../io.ts";

export function addCache(program: Command, io: Io, summary: string): void {
  const cache = program.command("cache").description(summary).helpCommand(false);
  subcommand(cache, "list", {
    summary: "List the quantized weights and the prototypes of experts on disk, largest first.",
    example: "skein cache list",
  }).action(async (flags: CommonFlags) => {
    const { keptWeights } = await import("../../quantization/store.ts");
    const { keptPrototypes } = await import("../../storage/kept-prototypes.ts");
    const kept = [...(await keptWeights()), ...(await keptPrototypes())].sort((a, b) => b.bytes - a.bytes);
    const rows = kept.map((one) => [...described(one), megabytes(one.bytes), one.folder]);
    const text = kept.length === 0 ? "Nothing is stored." : table([["kept", "of", "size", "folder"], ...rows]);
    show(io, flags, kept, text);
  });
  subcommand(cache, "clear", {
    summary: "Delete what `skein cache list` shows. It is made again when it is next needed.",
    example: "skein cache clear",
  }).action(async (flags: CommonFlags) => {
    const { clearKeptWeights } = await import("../../quantization/store.ts");
    const { clearKeptPrototypes } = await import("../../storage/kept-prototypes.ts");
    const gone = [...(await clearKeptWeights()), ...(await clearKeptPrototypes())];
    const bytes = gone.reduce((sum, kept) => sum + kept.bytes, 0);
    show(
      io,
      flags,
      { deleted: gone.map(({ folder }) => folder), bytes },
      `Deleted ${megabytes(bytes)} in ${counted(gone.length, "folder")}.`,
    );
  });
}

function described(kept: KeptWeights | KeptPrototypes): [string, string] {
  if ("computation" in kept) return [`prototypes ${kept.computation}`, counted(kept.experts, "expert")];
  return [`weights ${kept.scheme}`, kept.base.slice(0, 12) || "-"];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
