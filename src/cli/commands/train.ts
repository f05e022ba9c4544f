/** @file `skein train` and `skein gate`: an expert, every weight, or the gates of an expert, learned from a file of examples. */

import { basename } from "node:path";
import type { Command } from "commander";
import { given, number, subcommand, targetModulesFlag, wholeNumber } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { progress } from "../progress.ts";

interface RecipeFlags extends CommonFlags {
  readonly base: string;
  readonly data: string;
  readonly validation?: string;
  readonly run?: string;
  readonly steps?: number;
  readonly batchSize?: number;
  readonly microBatchSize?: number;
  readonly lr?: number;
  readonly schedule?: string;
  readonly warmupRatio?: number;
  readonly clip?: number;
  readonly weightDecay?: number;
  readonly dropout?: number;
  readonly maxLength?: number;
  readonly packing?: boolean;
  readonly seed?: number;
  readonly validateEvery?: number;
  readonly saveEvery?: number;
}
interface TrainFlags extends RecipeFlags {
  readonly out: string;
  readonly full?: boolean;
  readonly rank?: number;
  readonly alpha?: number;
  readonly targets?: string | readonly string[];
  readonly kind?: string;
  readonly activation?: string;
  readonly placement?: string;
}

export function addTrain(program: Command, io: Io): void {
  const command = subcommand(program, "train", {
    summary: "Train an expert (LoRA, (IA)3 or bottleneck), or with --full every weight. The same command resumes a run that was stopped.",
    example: "skein train --base models/t5 --data nouns.jsonl --validation nouns-valid.jsonl --out experts/nouns --steps 500",
  });
  withRecipeFlags(command, { steps: 1000, validateEvery: 100, lr: "5e-3; with --full 1e-3" })
    .requiredOption("--out <dir>", "folder of the expert (a PEFT adapter), or with --full of the checkpoint")
    .option("--full", "train every weight instead of a LoRA")
    .option("--kind <kind>", "lora, ia3 or bottleneck (default: lora)")
    .option("--rank <r>", "rank of the LoRA, or width of the bottleneck (default: 16)", wholeNumber(1))
    .option("--alpha <a>", "its scaling is alpha / rank (default: 1)", number)
    .option(
      "--targets <names>",
      "modules to adapt, as PEFT's target_modules: names with commas between, a regular expression, or all-linear (default: every projection but the head)",
      targetModulesFlag,
    )
    .option("--activation <name>", "of a bottleneck: relu, gelu_new or silu (default: relu)")
    .option("--placement <where>", "whether a bottleneck reads its module's input (parallel) or output (default: parallel)")
    .action(async ({ full, out, rank, alpha, targets, kind, activation, placement, ...flags }: TrainFlags) => {
      const { trainExpert, trainFull } = await import("../../training/train.ts");
      await train(io, flags, { run: `${out}.run`, label: "train" }, async (job, options) => {
        if (full) await trainFull({ ...job, out, options });
        else
          await trainExpert({
            ...job,
            out,
            base: flags.base,
            data: basename(flags.data),
            options: { ...options, ...given({ rank, alpha, targets, kind, activation, placement }) },
          });
      });
      show(io, flags, { out }, `Wrote ${out}.`);
    });
}

export function addGate(program: Command, io: Io): void {
  const command = subcommand(program, "gate <expert>", {
    summary: "Train the PHATGOOSE gates of an expert, or of any adapter, and write them beside it.",
    example: "skein gate experts/nouns --base models/t5 --data nouns.jsonl",
  });
  withRecipeFlags(command, { steps: 100, validateEvery: 0, lr: "5e-3" }).action(async (expert: string, flags: RecipeFlags) => {
    const { trainGate } = await import("../../training/train.ts");
    await train(io, flags, { run: `${expert}.gate-run`, label: "gate" }, async (job, options) => {
      await trainGate({ ...job, expert, options });
    });
    show(io, flags, { expert }, `Wrote gates to ${expert}.`);
  });
}

function withRecipeFlags(command: Command, { steps, validateEvery, lr }: { steps: number; validateEvery: number; lr: string }): Command {
  return command
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .requiredOption(
      "--data <file>",
      "examples: rows of {input, target}, {prompt, completion}, {instruction, output}, {messages}, {conversations} or {text}",
    )
    .option("--validation <file>", "examples to select the best state by")
    .option("--run <dir>", "folder to resume from (default: beside the result)")
    .option("--steps <n>", `optimiser steps (default: ${steps})`, wholeNumber(0))
    .option("--batch-size <n>", "sequences per step (default: 1024)", wholeNumber(1))
    .option("--micro-batch-size <n>", "sequences per pass; a batch is accumulated from these (default: 32)", wholeNumber(1))
    .option("--lr <rate>", `learning rate after warm-up (default: ${lr})`, number)
    .option("--schedule <kind>", "constant, linear or cosine (default: constant)")
    .option("--warmup-ratio <share>", "share of the steps in which the rate rises (default: 0.06)", number)
    .option("--clip <norm>", "largest global norm of the gradients (default: 1)", number)
    .option("--weight-decay <w>", "AdamW's (default: 0)", number)
    .option("--dropout <p>", "default: what the model's configuration says", number)
    .option("--max-length <n>", "longest input and target in tokens (default: 512)", wholeNumber(2))
    .option("--packing", "put several short examples into one row (decoder-only models)")
    .option("--seed <n>", "decides data order, dropout and first values (default: 42)", wholeNumber(0))
    .option("--validate-every <n>", `steps between validations; 0: keep the last state (default: ${validateEvery})`, wholeNumber(0))
    .option("--save-every <n>", "steps between saves to resume from (default: 100)", wholeNumber(1));
}

/** Loads what a job needs, and runs it with progress and Ctrl-C. */
async function train(
  io: Io,
  flags: RecipeFlags,
  { run, label }: { run: string; label: string },
  work: (job: TrainingJob, options: Record<string, unknown>) => Promise<void>,
): Promise<void> {
  const { loadModel } = await import("../../library/model.ts");
  const { readTrainingExamples } = await import("../../data/training-data.ts");
  const onWarning = (message: string) => warn(io, flags, [message]);
  await using model = await loadModel(flags.base);
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
    await interruptible(io, (signal) => work({ ...job, hooks: { onProgress: bar.update, signal } }, recipeOf(flags)));
  } finally {
    bar.done();
  }
}
type TrainingJob = import("../../training/train.ts").TrainingJob;

/** The options of a recipe that were given; the recipe's schema checks them and fills in the others. */
function recipeOf(flags: RecipeFlags): Record<string, unknown> {
  const { base, data, validation, run, json, schedule, warmupRatio, ...options } = flags;
  if (schedule === undefined && warmupRatio === undefined) return options;
  return { ...options, schedule: { kind: schedule ?? "constant", ...given({ warmupRatio }) } };
}
