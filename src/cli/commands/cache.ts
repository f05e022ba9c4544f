/** @file `skein cache`: the quantized weights of base models that are kept on disk. */

import type { Command } from "commander";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, table } from "../io.ts";

export function addCache(program: Command, io: Io, summary: string): void {
  const cache = program.command("cache").description(summary).helpCommand(false);
  subcommand(cache, "list", {
    summary: "List the quantized weights on disk, largest first.",
    example: "skein cache list",
  }).action(async (flags: CommonFlags) => {
    const { keptWeights } = await import("../../quantization/store.ts");
    const kept = await keptWeights();
    const rows = kept.map(({ scheme, bytes, base, folder }) => [scheme, megabytes(bytes), base.slice(0, 12) || "-", folder]);
    const text = kept.length === 0 ? "No quantized weights are stored." : table([["precision", "size", "base", "folder"], ...rows]);
    show(io, flags, kept, text);
  });
  subcommand(cache, "clear", {
    summary: "Delete the quantized weights. They are made again when a base is next used in int8 or int4.",
    example: "skein cache clear",
  }).action(async (flags: CommonFlags) => {
    const { clearKeptWeights } = await import("../../quantization/store.ts");
    const gone = await clearKeptWeights();
    const bytes = gone.reduce((sum, kept) => sum + kept.bytes, 0);
    show(io, flags, { deleted: gone.map(({ folder }) => folder), bytes }, `Deleted ${megabytes(bytes)} in ${gone.length} folders.`);
  });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
