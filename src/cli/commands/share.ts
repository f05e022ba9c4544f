/** @file `skein push`, `skein pull` and `skein search`: experts and pools on the Hugging Face Hub. */

import type { Command } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import type { FoundAdapter } from "../../sharing/search.ts";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, table, warn } from "../io.ts";
import { downloadProgress, progress } from "../progress.ts";
import { withOptions } from "../schema-options.ts";

const pushFlags = z.strictObject({
  license: z.string().optional().meta({ description: "The license, by the Hub's id: apache-2.0, mit, cc-by-4.0, other, ...", value: "id" }),
  base: z.string().optional().meta({
    description: "The base model's id on the Hub.",
    value: "dir",
    unset: "the recorded name, if it is an id",
  }),
  datasets: z.array(z.string()).optional().meta({ description: "Ids of the training data on the Hub, for the card.", value: "ids" }),
  results: z.string().optional().meta({
    description: "Folder of an evaluation (skein eval --out), whose numbers go into the card.",
    value: "path",
    unset: "evaluation in the pushed folder",
  }),
  private: z.boolean().optional().meta({ description: "Make a new repository private." }),
  dryRun: z.boolean().default(false).meta({ description: "List what would go; send nothing." }),
});
type PushFlags = CommonFlags & z.input<typeof pushFlags>;

export function addPush(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "push <folder> <repository>", {
    summary,
    example: "skein push my-pool flock/goose-pool --license apache-2.0 --base google-t5/t5-small --dry-run",
  });
  withOptions(command, pushFlags).action(async (folder: string, repository: string, { json, ...options }: PushFlags) => {
    const flags = { ...(json && { json }) };
    const { push } = await import("../../sharing/push.ts");
    const bar = progress(io, flags, { label: "push" });
    const onCommit = (step: number, steps: number) => bar.update({ step, steps: Math.max(1, steps), note: "commits" });
    const pushed = await push(folder, repository, { ...options, onCommit }).finally(() => bar.done());
    const bytes = pushed.sent.reduce((sum, file) => sum + file.bytes, 0);
    const kept = pushed.same > 0 ? `, ${counted(pushed.same, "file")} there already` : "";
    const amount = `${counted(pushed.sent.length, "file")} (${(bytes / 1e6).toFixed(1)} MB)${kept}`;
    if (!options.dryRun) {
      show(io, flags, pushed, `Pushed ${folder} to ${repository}@${pushed.commit}: ${amount}.`);
      return;
    }
    const lines = [...pushed.sent.map((file) => `  ${file.path}  ${file.bytes}`), ...pushed.deleted.map((path) => `  delete ${path}`)];
    const place = pushed.isNew ? `the new repository ${repository}` : repository;
    show(io, flags, { ...pushed, dryRun: true }, [`Would push to ${place}: ${amount}.`, ...lines].join("\n"));
  });
}

export function addPull(program: Command, io: Io, summary: string): void {
  subcommand(program, "pull <id> [out]", {
    summary,
    example: "skein pull flock/goose-pool@main my-pool",
  }).action(async (id: string, out: string | undefined, flags: CommonFlags) => {
    const { pull } = await import("../../sharing/push.ts");
    const pulled = await pull(id, out, { onProgress: downloadProgress(io, flags) });
    show(io, flags, pulled, `Pulled the ${pulled.kind} ${pulled.repository}@${pulled.commit} to ${pulled.folder}.`);
  });
}

const searchFlags = z.strictObject({
  base: z.string().optional().meta({ description: "Only adapters for this base model, by its id on the Hub.", value: "dir" }),
  limit: z.int().min(1).max(500).default(20).meta({ description: "The most repositories to look at.", value: "n" }),
});
type SearchFlags = CommonFlags & z.input<typeof searchFlags>;

export function addSearch(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "search <text>", {
    summary,
    example: 'skein search "lora" --base google/flan-t5-large --limit 10',
  });
  withOptions(command, searchFlags).action(async (text: string, { base, limit, ...flags }: SearchFlags) => {
    const { searchAdapters } = await import("../../sharing/search.ts");
    const found = await searchAdapters(text, { base, limit });
    if (found.length === 0) warn(io, flags, ["The Hub has no adapter of this name for this base."]);
    const rows = found.map(rowOf);
    show(io, flags, found, rows.length === 0 ? "" : table([["adapter", "base", "rank", "modules", "size", "gates", "loads"], ...rows]));
  });
}

function rowOf({ id, base = "?", kind, ranks, modules, bytes, gates, loads, problem }: FoundAdapter): string[] {
  const rank = ranks.length > 0 ? ranks.join(", ") : (kind ?? "?");
  const size = bytes === undefined ? "?" : `${(bytes / 1e6).toFixed(1)} MB`;
  return [id, base, rank, String(modules), size, gates ? "yes" : "no", loads ? "yes" : `no: ${problem}`];
}
