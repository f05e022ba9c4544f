/** @file `skein train` and `skein gate`: train an expert, every weight, or the gates of an expert from a file of examples. */

import { basename, join } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import { OptionError } from "../../base/errors.ts";
import type { TrainingSetting } from "../../training/learn.ts";
import { expertRecipe, gateRecipe, togetherOptions } from "../../training/recipe.ts";
import { subcommand } from "../command.ts";
import { checkedDate } from "../common-options.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { checkDataOrSamples, type SampledExpert, type SampleFlags, type SampleSource, sampleFlags, samplesOf } from "../samples.ts";
import { optionsFrom, targetModulesFlag, withOptions } from "../schema-options.ts";
import { checkCount, type DataFlags, jobFlags, withJob } from "../training-job.ts";

const parsers = { date: checkedDate };
const unset = { date: "the date of the resumed run, else now" };
const trainFlags = z.strictObject({
  ...jobFlags,
  out: z.string().optional().meta({
    description: "Folder of the expert (a PEFT adapter), or with --full of the checkpoint.",
    value: "dir",
    unset: "with --out-each none",
  }),
  outEach: z.string().optional().meta({
    description: "Train an expert for each file of --data, at once, into DIR/<name of the file>.",
    value: "dir",
    unset: "one expert",
  }),
  full: z.boolean().default(false).meta({ description: "Train every weight instead of an adapter." }),
});
const gateFlags = z.strictObject({ ...jobFlags, data: jobFlags.data.optional(), ...sampleFlags });
type GateFlags = CommonFlags & z.input<typeof gateFlags>;
type TrainFlags = CommonFlags & z.input<typeof trainFlags>;
type TogetherFlags = z.input<typeof togetherOptions>;

const GROUP = "Training:";

export function addTrain(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "train", {
    summary,
    example:
      "skein train --base models/t5 --data nouns.jsonl --validation nouns-valid.jsonl --out experts/nouns --steps 500\n" +
      "$ skein train --base models/t5 --data nouns.jsonl verbs.jsonl --out-each experts",
  });
  withOptions(command, trainFlags, { parsers, unset });
  withOptions(command, togetherOptions);
  const rules = { group: GROUP, unset: { lr: "5e-3; with --full 1e-3" }, parsers: { targets: targetModulesFlag } };
  withOptions(command, expertRecipe, rules).action(async (flags: TrainFlags & TogetherFlags) => {
    const options = optionsFrom(expertRecipe, flags);
    if (flags.outEach !== undefined) return trainEach(io, flags, flags.outEach, options);
    const { full = false, out } = flags;
    const file = onlyFile(flags);
    if (out === undefined) throw noFolder();
    const { trainExpert, trainFull } = await import("../../training/train.ts");
    await withJob(io, flags, "train", async (job, files) => {
      const one = { ...(await files.of(0)), ...job, run: flags.run ?? `${out}.run`, ...files.forOne, out, options };
      if (full) await trainFull(one);
      else await trainExpert({ ...one, base: flags.base, data: basename(file) });
    });
    show(io, flags, { out }, `Wrote ${out}.`);
  });
}

async function trainEach(io: Io, flags: TrainFlags & TogetherFlags, outEach: string, options: Record<string, unknown>): Promise<void> {
  const { full = false, out, run: runs = outEach, data } = flags;
  if (full || out !== undefined) throw notWithOutEach(full ? "full" : "out");
  const { trainExperts } = await import("../../training/train-together.ts");
  const names = data.map(nameOfFile);
  await withJob(io, flags, "train", async (job, files) => {
    const experts = await inOrder(data, async (file, i) => {
      const name = names[i]!;
      const places = { out: join(outEach, name), run: join(runs, `${name}.run`), data: basename(file) };
      return { name, ...places, ...(await files.of(i)) };
    });
    await trainExperts({ ...job, ...files.forEach, base: flags.base, experts, options, ...optionsFrom(togetherOptions, flags) });
  });
  const folders = names.map((name) => join(outEach, name));
  show(io, flags, { out: folders }, folders.map((folder) => `Wrote ${folder}.`).join("\n"));
}

export function addGate(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "gate <experts...>", {
    summary,
    example:
      "skein gate experts/nouns --base models/t5 --data nouns.jsonl\n" +
      "$ skein gate experts/nouns experts/verbs --base models/t5 --data nouns.jsonl verbs.jsonl",
  });
  withOptions(command, gateFlags, { parsers, unset });
  withOptions(command, togetherOptions);
  withOptions(command, gateRecipe, { group: GROUP }).action(async (folders: string[], { data = [], ...rest }: GateFlags) => {
    checkDataOrSamples({ data: data[0], ...rest });
    const flags = { ...rest, data };
    const options = optionsFrom(gateRecipe, flags);
    const [expert] = folders as [string];
    if (folders.length > 1) return gateEach(io, flags, folders, options);
    const { trainGate } = await import("../../training/train.ts");
    const run = flags.run ?? `${expert}.gate-run`;
    const { fromSamples } = flags;
    if (fromSamples === undefined) onlyFile(flags);
    await withJob(io, flags, "gate", async (job, files) => {
      const sampled = () => gateSamples(io, flags, { ...job, ...files.forOne, expert, run });
      const examples = fromSamples === undefined ? await files.of(0) : await sampled();
      await trainGate({ ...examples, ...job, ...files.forOne, run, expert, options });
      await noteSource(expert, examples);
    });
    show(io, flags, { expert }, `Wrote gates to ${expert}.`);
  });
}

async function gateEach(
  io: Io,
  flags: DataFlags & SampleFlags & TogetherFlags,
  folders: readonly string[],
  options: Record<string, unknown>,
): Promise<void> {
  const { data, run: runs, fromSamples } = flags;
  if (fromSamples === undefined) checkCount("data", data, folders);
  const { trainGates } = await import("../../training/train-together.ts");
  await withJob(io, flags, "gate", async (job, files) => {
    const experts = await inOrder(folders, async (expert, i) => {
      const name = basename(expert);
      const run = runs === undefined ? `${expert}.gate-run` : join(runs, `${name}.gate-run`);
      const sampled = () => gateSamples(io, flags, { ...job, ...files.forOne, expert, run });
      return { name, expert, run, ...(fromSamples === undefined ? await files.of(i) : await sampled()) };
    });
    await trainGates({ ...job, ...files.forEach, experts, options, ...optionsFrom(togetherOptions, flags) });
    for (const expert of experts) await noteSource(expert.expert, expert);
  });
  show(io, flags, { experts: folders }, folders.map((expert) => `Wrote gates to ${expert}.`).join("\n"));
}

/** Texts that the expert writes in place of a file. */
async function gateSamples(
  io: Io,
  flags: DataFlags & SampleFlags,
  { hooks, ...place }: Omit<SampledExpert, "signal" | "openings"> & Pick<TrainingSetting, "hooks">,
) {
  return samplesOf(io, flags, { ...place, signal: hooks?.signal, openings: "base" });
}

/** Says in the expert's card that its gates come from texts of its own. */
async function noteSource(expert: string, { source }: { readonly training: unknown; readonly source?: SampleSource }) {
  const { noteSamples } = await import("../../storage/card.ts");
  if (source) await noteSamples(expert, "Gates", source.count, source.prompts);
}

async function inOrder<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const [i, item] of items.entries()) results.push(await work(item, i));
  return results;
}

/** "data/nouns.jsonl.gz" -> "nouns" */
function nameOfFile(file: string): string {
  return basename(file).replace(/\.[^.]+(?:\.gz)?$/, "");
}

function onlyFile({ data }: DataFlags): string {
  const [file, ...others] = data as [string, ...string[]];
  if (others.length === 0) return file;
  throw new OptionError({
    code: "option-count",
    data: { option: "data", expected: "1", got: data.length },
    what: `There are ${data.length} files of examples for one expert.`,
    where: "data",
    fix: "Put all examples of an expert into one file, or train an expert for each file with --out-each DIR.",
  });
}

function noFolder(): OptionError {
  return new OptionError({
    code: "option-empty",
    data: { option: "out" },
    what: "No folder for the result is named.",
    fix: "Name it with --out DIR, or with --out-each DIR for several experts.",
  });
}

function notWithOutEach(option: string): OptionError {
  return new OptionError({
    code: "option-conflict",
    data: { options: ["outEach", option] },
    what: `--out-each trains an adapter for each file of --data, so it does not go with --${option}.`,
    fix: `Omit --${option}.`,
  });
}
