/** @file `skein train` and `skein gate`: an expert, every weight, or the gates of an expert, learned from a file of examples. */

import { basename } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import { expertRecipe, gateRecipe } from "../../training/recipe.ts";
import { subcommand } from "../command.ts";
import { base, run } from "../common-options.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { progress } from "../progress.ts";
import { optionsFrom, targetModulesFlag, withOptions } from "../schema-options.ts";

const jobFlags = {
  base,
  data: z.string().meta({
    description: "Examples: rows of {input, target}, {prompt, completion}, {instruction, output}, {messages}, {conversations} or {text}.",
    value: "file",
  }),
  validation: z.string().optional().meta({ description: "Examples to select the best state by.", value: "file" }),
  run,
};
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
  withOptions(command, trainFlags);
  const parsers = { targets: targetModulesFlag };
  withOptions(command, expertRecipe, { group: GROUP, unset: { lr: "5e-3; with --full 1e-3" }, parsers }).action(
    async (flags: TrainFlags) => {
      const { trainExpert, trainFull } = await import("../../training/train.ts");
      const { full = false, out, data } = flags;
      const options = optionsFrom(expertRecipe, flags);
      await train(io, flags, { run: `${out}.run`, label: "train" }, async (job) => {
        if (full) await trainFull({ ...job, out, options });
        else await trainExpert({ ...job, out, base: flags.base, data: basename(data), options });
      });
      show(io, flags, { out }, `Wrote ${out}.`);
    },
  );
}

export function addGate(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "gate <expert>", {
    summary,
    example: "skein gate experts/nouns --base models/t5 --data nouns.jsonl",
  });
  withOptions(command, gateFlags);
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
  await using model = await loadModel(flags.base, { onWarning: (warning) => warn(io, flags, [warning]) });
  const job = {
    model,
    tokenizer: await model.base.tokenizer(),
    training: await readTrainingExamples(flags.data, { onWarning }),
    ...(flags.validation === undefined ? {} : { validation: await readTrainingExamples(flags.validation, { onWarning }) }),
    run: flags.run ?? run,
    onWarning,
  };
  const bar = progress(io, flags, { label });
  try {
    await interruptible(io, (signal) => work({ ...job, hooks: { onProgress: bar.update, signal } }));
  } finally {
    bar.done();
  }
}
type TrainingJob = import("../../training/train.ts").TrainingJob;
