/** @file What `skein train` and `skein gate` share: the flags of their data, and a loaded base with progress and Ctrl-C. */

import * as z from "zod";
import { OptionError } from "../base/errors.ts";
import type { ExampleFile } from "../data/example-file.ts";
import type { EncodedSet } from "../training/examples.ts";
import type { TrainingJob } from "../training/learn.ts";
import type { ExpertsJob } from "../training/train-together.ts";
import { baseOptions } from "./base-model.ts";
import { baseModel, date, dateOf, run } from "./common-options.ts";
import { interruptible } from "./interrupt.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";
import { type Shown, showLearned } from "./learned-rows.ts";
import { dataProgress, progress, progressOfEach } from "./progress.ts";

export const jobFlags = {
  ...baseModel,
  data: z
    .array(z.string())
    .min(1)
    .meta({
      description:
        "Examples: rows of {input, target}, {prompt, completion}, {instruction, output}, {messages}, {conversations} or {text}. " +
        "Several experts have a file each.",
      value: "file",
      variadic: true,
    }),
  validation: z
    .array(z.string())
    .optional()
    .meta({ description: "Examples that select the best state; one file for each of --data.", value: "file", variadic: true }),
  check: z
    .boolean()
    .default(false)
    .meta({ description: "Check all rows of a large data file before the first step, not beside the first steps." }),
  run,
  date,
  showLabels: z.int().min(0).optional().meta({
    description: "The number of first rows to print with their learned tokens.",
    unset: "1 for chats, else 0",
  }),
};
/** The flags of `skein gate`, which `skein train` has too. */
const dataFlags = z.strictObject(jobFlags);
export type DataFlags = CommonFlags & z.input<typeof dataFlags>;

/** Loads the base, and runs `work` with progress and Ctrl-C. */
export async function withJob(
  io: Io,
  flags: DataFlags,
  label: string,
  work: (job: CommonJob, files: Files) => Promise<void>,
): Promise<void> {
  if (flags.validation) checkCount("validation", flags.validation, flags.data);
  const { loadModel } = await import("../library/model.ts");
  const onWarning = (message: string) => warn(io, flags, [message]);
  await using model = await loadModel(flags.base, { ...baseOptions(io, flags), onWarning });
  const tokenizer = await model.base.tokenizer();
  const shown = { tokenizer, kind: model.base.architecture.kind };
  const onEncoded = (set: EncodedSet) => showSet(io, flags, set, shown);
  const bar = progress(io, flags, { label });
  const bars = progressOfEach(io, flags, { label });
  const opened: ExampleFile[] = [];
  try {
    await interruptible(io, async (signal) => {
      await work(
        { model, tokenizer, date: dateOf(flags.date), onWarning },
        {
          of: async (index) => {
            const { training, ...held } = await filesOf(io, flags, index, onWarning);
            if ("close" in training) opened.push(training);
            return { training, ...held };
          },
          forOne: { onEncoded, hooks: { onProgress: bar.update, signal } },
          forEach: { onEncoded: (_, set) => onEncoded(set), hooks: { onProgress: bars.update, signal } },
        },
      );
    });
  } finally {
    bar.done();
    bars.done();
    for (const file of opened) await file.close();
  }
}

type CommonJob = Pick<TrainingJob, "model" | "tokenizer" | "onWarning"> & {
  readonly date: Date | undefined;
};
interface Files {
  /** The examples of a file of --data and of its validation, by its place among the files. */
  of(index: number): Promise<Pick<TrainingJob, "training" | "validation">>;
  /** The hooks of a job that trains one expert. */
  readonly forOne: Pick<TrainingJob, "hooks" | "onEncoded">;
  /** The hooks of a job that trains several. */
  readonly forEach: Pick<ExpertsJob, "hooks" | "onEncoded">;
}

async function filesOf(io: Io, flags: DataFlags, index: number, onWarning: (message: string) => void): ReturnType<Files["of"]> {
  const { openTrainingExamples } = await import("../data/example-file.ts");
  const { readTrainingExamples } = await import("../data/training-data.ts");
  const { data, validation, check = false } = flags;
  const held = validation?.[index];
  return {
    training: await openTrainingExamples(data[index]!, { onWarning, onProgress: dataProgress(io, flags), check }),
    ...(held === undefined ? {} : { validation: await readTrainingExamples(held, { onWarning }) }),
  };
}

/** Every expert has one file. */
export function checkCount(option: string, files: readonly string[], experts: readonly string[]): void {
  if (files.length === experts.length) return;
  throw new OptionError({
    code: "option-count",
    data: { option, expected: String(experts.length), got: files.length },
    what: `There are ${files.length} files of --${option} for ${experts.length} experts.`,
    where: option,
    fix: "Name one file for each expert, in their order.",
  });
}

/** Shows the learned tokens: always for chats, for other rows with --show-labels. */
function showSet(io: Io, flags: DataFlags, set: EncodedSet, of: Omit<Shown, "rows">): void {
  const rows = flags.showLabels ?? (set.hasChats ? 1 : 0);
  if (rows > 0 || set.hasChats) showLearned(io, flags, set, { ...of, rows });
}
