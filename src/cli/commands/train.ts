/** @file `skein train` and `skein gate`: train an expert, every weight, or the gates of an expert from a file of examples. */

import { basename } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import type { EncodedSet } from "../../training/examples.ts";
import { expertRecipe, gateRecipe } from "../../training/recipe.ts";
import { baseOptions } from "../base-model.ts";
import { subcommand } from "../command.ts";
import { baseModel, checkedDate, date, dateOf, run } from "../common-options.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { type Shown, showLearned } from "../learned-rows.ts";
import { progress } from "../progress.ts";
import { optionsFrom, targetModulesFlag, withOptions } from "../schema-options.ts";

const jobFlags = {
  ...baseModel,
  data: z.string().meta({
    description: "Examples: rows of {input, target}, {prompt, completion}, {instruction, output}, {messages}, {conversations} or {text}.",
    value: "file",
  }),
  validation: z.string().optional().meta({ description: "Examples that select the best state.", value: "file" }),
  run,
  date,
  showLabels: z.int().min(0).optional().meta({
    description: "The number of first rows to print with their learned tokens.",
    unset: "1 for chats, else 0",
  }),
};
const parsers = { date: checkedDate };
const unset = { date: "the date of the resumed run, else now" };
const gateFlags = z.strictObject(jobFlags);
const trainFlags = z.strictObject({
  ...jobFlags,
  out: z.string().meta({ description: "Folder of the expert (a PEFT adapter), or with --full of the checkpoint.", value: "dir" }),
  full: z.boolean().default(false).meta({ description: "Train every weight instead of an adapter." }),
});
type GateFlags = CommonFlags & z.input<typeof gateFlags>;
type TrainFlags = CommonFlags & z.input<typeof trainFlags>;

const GROUP = "Training:";

export function addTrain(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "train", {
    summary,
    example: "skein train --base models/t5 --data nouns.jsonl --validation nouns-valid.jsonl --out experts/nouns --steps 500",
  });
  withOptions(command, trainFlags, { parsers, unset });
  const rules = { group: GROUP, unset: { lr: "5e-3; with --full 1e-3" }, parsers: { targets: targetModulesFlag } };
  withOptions(command, expertRecipe, rules).action(async (flags: TrainFlags) => {
    const { trainExpert, trainFull } = await import("../../training/train.ts");
    const { full = false, out, data } = flags;
    const options = optionsFrom(expertRecipe, flags);
    await train(io, flags, { run: `${out}.run`, label: "train" }, async (job) => {
      if (full) await trainFull({ ...job, out, options });
      else await trainExpert({ ...job, out, base: flags.base, data: basename(data), options });
    });
    show(io, flags, { out }, `Wrote ${out}.`);
  });
}

export function addGate(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "gate <expert>", {
    summary,
    example: "skein gate experts/nouns --base models/t5 --data nouns.jsonl",
  });
  withOptions(command, gateFlags, { parsers, unset });
  withOptions(command, gateRecipe, { group: GROUP }).action(async (expert: string, flags: GateFlags) => {
    const { trainGate } = await import("../../training/train.ts");
    await train(io, flags, { run: `${expert}.gate-run`, label: "gate" }, async (job) => {
      await trainGate({ ...job, expert, options: optionsFrom(gateRecipe, flags) });
    });
    show(io, flags, { expert }, `Wrote gates to ${expert}.`);
  });
}

/** Loads what a job needs, and runs it with progress and Ctrl-C. */
async function train(
  io: Io,
  flags: GateFlags,
  { run, label }: { run: string; label: string },
  work: (job: TrainingJob) => Promise<void>,
): Promise<void> {
  const { loadModel } = await import("../../library/model.ts");
  const { readTrainingExamples } = await import("../../data/training-data.ts");
  const onWarning = (message: string) => warn(io, flags, [message]);
  await using model = await loadModel(flags.base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
  const tokenizer = await model.base.tokenizer();
  const job = {
    model,
    tokenizer,
    date: dateOf(flags.date),
    training: await readTrainingExamples(flags.data, { onWarning }),
    ...(flags.validation === undefined ? {} : { validation: await readTrainingExamples(flags.validation, { onWarning }) }),
    run: flags.run ?? run,
    onWarning,
    onEncoded: (set: EncodedSet) => showSet(io, flags, set, { tokenizer, kind: model.base.architecture.kind }),
  };
  const bar = progress(io, flags, { label });
  try {
    await interruptible(io, (signal) => work({ ...job, hooks: { onProgress: bar.update, signal } }));
  } finally {
    bar.done();
  }
}
type TrainingJob = import("../../training/train.ts").TrainingJob;

/** Shows the learned tokens: always for chats, for other rows with --show-labels. */
function showSet(io: Io, flags: GateFlags, set: EncodedSet, of: Omit<Shown, "rows">): void {
  const rows = flags.showLabels ?? (set.hasChats ? 1 : 0);
  if (rows > 0 || set.hasChats) showLearned(io, flags, set, { ...of, rows });
}
