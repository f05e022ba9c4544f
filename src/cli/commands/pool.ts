/** @file `skein pool create | add | remove | list | map`: experts over one base model, in a folder with a lockfile. */

import type { Command } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import { subcommand } from "../command.ts";
import { base } from "../common-options.ts";
import { expertFolders } from "../expert-folders.ts";
import { type CommonFlags, type Io, show, table, warn } from "../io.ts";
import { progress } from "../progress.ts";
import { withOptions } from "../schema-options.ts";
import { addPoolMap } from "./pool-map.ts";

const createFlags = z.strictObject({ base });
const addFlags = z.strictObject({
  base: z.string().optional().meta({ description: "The place of the pool's base model.", value: "dir", unset: "the place in pool.json" }),
  name: z.string().optional().meta({ description: "The name of the expert.", value: "name", unset: "its folder's name" }),
  reference: z
    .boolean()
    .default(false)
    .meta({ description: "For a folder inside the pool's folder: record its path instead of copying it to experts/." }),
  convert: z
    .boolean()
    .default(false)
    .meta({ description: "Convert experts that are pickles (adapter_model.bin) to safetensors. No code in them is run." }),
  list: z.string().optional().meta({ description: "A YAML list of adapters to add too, as in recipes/pools/lorahub.yaml.", value: "file" }),
  dryRun: z.boolean().default(false).meta({ description: "Say what would be added; add nothing." }),
});
type CreateFlags = CommonFlags & z.input<typeof createFlags>;
type AddFlags = CommonFlags & z.input<typeof addFlags>;

export function addPool(program: Command, io: Io, summary: string): void {
  const pool = program
    .command("pool")
    .description(summary)
    .helpCommand(false)
    .addHelpText("after", "\nExample:\n  $ skein pool create my-pool --base models/t5 experts/nouns");
  addPoolCreate(pool, io);
  addPoolAdd(pool, io);
  addPoolRemove(pool, io);
  addPoolList(pool, io);
  addPoolMap(pool, io);
}

function addPoolCreate(pool: Command, io: Io): void {
  const command = subcommand(pool, "create <pool> [experts...]", {
    summary: "Make a pool for a base model, and add experts to it.",
    example: "skein pool create my-pool --base models/t5 experts/nouns experts/verbs",
  });
  withOptions(command, createFlags).action(async (directory: string, experts: readonly string[], flags: CreateFlags) => {
    const { createPoolOf } = await import("../../inference/pool-for-base.ts");
    const { entries, warnings } = await createPoolOf(directory, flags.base, await expertFolders(io, flags, experts));
    warn(io, flags, warnings);
    show(io, flags, { pool: directory, experts: entries }, `Made ${directory} with ${counted(entries.length, "expert")}.`);
  });
}

function addPoolAdd(pool: Command, io: Io): void {
  const command = subcommand(pool, "add <pool> [experts...]", {
    summary: "Add experts at the end of a pool: folders, or adapters on the Hub (org/name, org/name/folder).",
    example: "skein pool add my-pool experts/adjectives flock/nouns\n$ skein pool add lorahub --list recipes/pools/lorahub.yaml --convert",
  });
  withOptions(command, addFlags).action(async (directory: string, experts: readonly string[], flags: AddFlags) => {
    const { addConverted, addToPool } = await import("../../inference/pool-for-base.ts");
    const add = flags.convert ? addConverted : addToPool;
    const listed = await listedExperts(io, flags, directory);
    if (flags.dryRun) {
      const sources = [...experts, ...listed.map(({ source }) => source)];
      show(io, flags, { pool: directory, wouldAdd: sources }, [`Would add ${counted(sources.length, "expert")}:`, ...sources].join("\n  "));
      return;
    }
    const { list: _, dryRun: __, ...options } = flags;
    const given = await expertFolders(io, flags, experts);
    const { entries: first, warnings } = given.length > 0 ? await add(directory, given, options) : { entries: [], warnings: [] };
    const entries = [...first];
    const bar = progress(io, flags, { label: "add" });
    // One by one, so that the same command goes on where it was stopped.
    for (const [i, { name, source }] of listed.entries()) {
      const added = await add(directory, [source], { ...options, name }).finally(() => bar.done());
      entries.push(...added.entries);
      warn(io, flags, added.warnings);
      bar.update({ step: i + 1, steps: listed.length, note: name });
    }
    bar.done();
    warn(io, flags, warnings);
    const names = entries.map(({ name }) => name);
    show(io, flags, { pool: directory, added: entries }, `Added ${names.join(", ") || "nothing"} to ${directory}.`);
  });
}

/** The adapters of --list that the pool does not have yet. */
async function listedExperts(io: Io, flags: AddFlags, directory: string) {
  if (flags.list === undefined) return [];
  const { readPoolList } = await import("../../sharing/pool-list.ts");
  const { listPool } = await import("../../storage/pool.ts");
  const { adapters, base } = await readPoolList(flags.list);
  const pool = await listPool(directory);
  if (pool.base.name !== base) warn(io, flags, [`The list is for ${base}; the pool is for ${pool.base.name}.`]);
  return adapters.filter(({ name }) => !pool.experts.some((expert) => expert.name === name));
}

function addPoolRemove(pool: Command, io: Io): void {
  subcommand(pool, "remove <pool> <names...>", {
    summary: "Remove experts from a pool. Copies in its experts/ folder are deleted.",
    example: "skein pool remove my-pool nouns",
  }).action(async (directory: string, names: readonly string[], flags: CommonFlags) => {
    const { removeExpert } = await import("../../storage/pool.ts");
    const { refuseDomains } = await import("../../inference/moa-pool.ts");
    await refuseDomains(directory, names);
    for (const name of names) await removeExpert(directory, name);
    show(io, flags, { pool: directory, removed: names }, `Removed ${names.join(", ")} from ${directory}.`);
  });
}

function addPoolList(pool: Command, io: Io): void {
  subcommand(pool, "list <pool>", {
    summary: "List a pool's base model and experts, in the order of their indices in routes.",
    example: "skein pool list my-pool",
  }).action(async (directory: string, flags: CommonFlags) => {
    const { listPool } = await import("../../storage/pool.ts");
    const { base, experts } = await listPool(directory);
    const rows = experts.map(({ name, path, hub, revision, sha256 }, index) => [
      String(index),
      name,
      path ?? `${hub}@${revision}`,
      sha256.slice(0, 12),
    ]);
    const text = `Base ${base.name}, fingerprint ${base.fingerprint?.slice(0, 12) ?? "not recorded"}\n${table([["#", "expert", "where", "sha256"], ...rows])}`;
    show(io, flags, { pool: directory, base, experts }, text);
  });
}
