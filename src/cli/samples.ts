/** @file The flags of commands that can train on texts which an expert writes itself, and those texts. */

import { join } from "node:path";
import * as z from "zod";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { OptionError } from "../base/errors.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Model } from "../inference/model.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { TrainingSetting } from "../training/learn.ts";
import { type SampleJob, sampleOptions } from "../training/samples.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";
import { progress } from "./progress.ts";
import { optionsFrom } from "./schema-options.ts";

/** From fewer texts a gate learns single words. */
export const FEWEST_SAMPLES = 8;

/** Flags beside --data. */
export const sampleFlags = {
  fromSamples: z
    .int()
    .min(FEWEST_SAMPLES)
    .optional()
    .meta({ description: "In place of data: so many texts that the expert writes itself.", unset: "the data" }),
  prompts: z.string().optional().meta({
    description: "What the expert continues: a text file with one prompt a line, or rows with a prompt.",
    value: "file",
    unset: "the card's examples, else openings",
  }),
  ...sampleOptions.shape,
};
const schema = z.strictObject(sampleFlags);
export type SampleFlags = z.input<typeof schema>;

export interface SampledExpert {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** The expert's folder. */
  readonly expert: string;
  /** The folder of the samples. */
  readonly run: string;
  readonly signal?: AbortSignal | undefined;
  /** Who writes openings where there are no prompts. */
  readonly openings: "base" | "expert";
}

/** What a card says of samples. */
export interface SampleSource {
  readonly count: number;
  /** Where the prompts came from. */
  readonly prompts: string;
}

/** The texts, and what a card says of them. */
export async function samplesOf(
  io: Io,
  flags: CommonFlags & SampleFlags,
  { model, tokenizer, expert, run, signal, openings }: SampledExpert,
): Promise<{ readonly training: readonly TrainingExample[]; readonly source: SampleSource }> {
  const { loadExpert } = await import("../storage/expert.ts");
  const { samplePrompts } = await import("../training/sample-prompts.ts");
  const { prompts, source = `openings of the ${openings}` } = await samplePrompts(expert, flags.prompts, tokenizer);
  const { adapter } = await loadExpert(expert, model.base.modules, { fingerprint: await model.base.fingerprint() });
  const count = flags.fromSamples ?? FEWEST_SAMPLES;
  const setting = {
    model,
    tokenizer,
    run: join(run, "samples"),
    openings,
    ...(signal && { signal }),
    options: optionsFrom(sampleOptions, flags),
  };
  const training = await writtenBy(io, flags, { ...setting, adapter, count, prompts });
  return { training, source: { count: training.length, prompts: source } };
}

/** The texts of one expert, with progress. */
async function writtenBy(io: Io, flags: CommonFlags, job: SampleJob): Promise<readonly TrainingExample[]> {
  const { expertSamples } = await import("../training/samples.ts");
  const bar = progress(io, flags, { label: "samples" });
  const start = performance.now();
  const onProgress = (kept: number) => {
    const seconds = (performance.now() - start) / 1000;
    bar.update({ step: kept, steps: job.count, secondsLeft: (seconds / Math.max(1, kept)) * (job.count - kept) });
  };
  try {
    return await expertSamples({ ...job, onProgress, onWarning: (message) => warn(io, flags, [message]) });
  } finally {
    bar.done();
  }
}

/** Texts that a domain's LoRA writes. It writes the openings too, since routers read prompts alone. */
export function loraWriter(io: Io, flags: CommonFlags, { model, tokenizer, run = "", hooks }: TrainingSetting, count: number) {
  const options = optionsFrom(sampleOptions, flags);
  const setting = { model, tokenizer, count, options, openings: "expert" as const, ...(hooks?.signal && { signal: hooks.signal }) };
  return (name: string, adapter: LoraAdapter) => writtenBy(io, flags, { ...setting, adapter, run: join(run, `${name}-samples`) });
}

/** Refuses both data and samples, and neither. */
export function checkDataOrSamples({ data, fromSamples, prompts }: { readonly data?: string | undefined } & SampleFlags): void {
  if (data === undefined && fromSamples === undefined) {
    throw new OptionError({
      code: "option-empty",
      data: { option: "data" },
      what: "There is nothing to learn from.",
      fix: "Pass examples (--data), or let the expert write them (--from-samples).",
    });
  }
  const other =
    data !== undefined && fromSamples !== undefined ? "fromSamples" : fromSamples === undefined && prompts ? "prompts" : undefined;
  if (other === undefined) return;
  throw new OptionError({
    code: "option-conflict",
    data: { options: ["data", other] },
    what:
      other === "prompts"
        ? "Prompts are for samples, and the examples come from a file."
        : "Examples come from a file, or the expert writes them.",
    fix: "Leave out one of the two.",
  });
}
