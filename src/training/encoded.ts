/** @file The examples of a job as token ids, with what a person should know of them, and the date that its chat template writes. */

import { counted } from "../base/counted.ts";
import { OptionError } from "../base/errors.ts";
import type { ExampleFile } from "../data/example-file.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Model } from "../inference/model.ts";
import { writesDate } from "../text/chat.ts";
import { dateText, parseDate } from "../text/template/strftime.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Encoded } from "./batches.ts";
import { ExampleStream } from "./example-stream.ts";
import { type EncodedSet, type EncodeLimits, encodeExamples, noteLines } from "./examples.ts";
import { packed } from "./packing.ts";
import type { CommonRecipe } from "./recipe.ts";
import { recordedConfig } from "./run.ts";

/** What encoding needs to know of a job. */
export interface EncodeSetting {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Folder to resume from; nothing is saved underway without it. */
  readonly run?: string;
  /** The date for chat templates that write one. Default: that of the run to resume, else now. */
  readonly date?: Date | undefined;
  /** Told what a person should know: truncated examples, absent validation data. */
  readonly onWarning?: (message: string) => void;
}
type LengthRecipe = Pick<CommonRecipe, "packing" | "maxLength">;

/** Examples as token ids, cut to the recipe's length with a warning. */
export function encodedSet(job: EncodeSetting, examples: readonly TrainingExample[], recipe: LengthRecipe): EncodedSet {
  const limits = limitsOf(job, recipe);
  const set = encodeExamples(examples, job.tokenizer, job.model.base.architecture, limits);
  warnOf(job, { ...set, sequences: set.examples.length + set.emptied }, limits);
  return set;
}

/** The length to which the recipe and the model cut. */
function limitsOf(job: EncodeSetting, recipe: LengthRecipe): EncodeLimits {
  const { architecture } = job.model.base;
  if (recipe.packing && architecture.kind !== "decoder-only")
    throw new OptionError({
      code: "option-not-for-model",
      data: { option: "packing" },
      what: "Packing is for decoder-only models.",
      fix: "Leave `packing` out.",
    });
  const own = architecture.kind === "decoder-only" ? architecture.maxPositions : undefined;
  const limit = Math.min(recipe.maxLength, own ?? Number.POSITIVE_INFINITY);
  return { maxInput: limit, maxTarget: limit, date: job.date };
}

/** Warns of examples that were cut or left out, and passes on their notes. */
function warnOf(job: EncodeSetting, { sequences, truncated, emptied, unlearned, notes }: Fate, { maxInput }: EncodeLimits): void {
  if (truncated > 0) job.onWarning?.(`${truncated} of ${sequences} examples were longer than ${maxInput} tokens and were cut.`);
  if (emptied > 0) job.onWarning?.(`${emptied} of them had nothing left to learn from after the cut and were left out.`);
  if (unlearned > 0) job.onWarning?.(`${counted(unlearned, "row")} with nothing to be learned: left out.`);
  for (const note of notes) job.onWarning?.(note);
}
type Fate = Pick<EncodedSet, "truncated" | "emptied" | "unlearned" | "notes"> & { readonly sequences: number };

const FIRST_ROWS = 16; // of a large file, encoded and shown before the first step

/** The examples of a large file, encoded as the steps need them. */
export async function encodedStream(
  job: EncodeSetting & { readonly onEncoded?: (set: EncodedSet) => void },
  file: ExampleFile,
  recipe: LengthRecipe & Pick<CommonRecipe, "seed">,
): Promise<ExampleStream> {
  const limits = limitsOf(job, recipe);
  const { architecture } = job.model.base;
  const { seed, packing, maxLength } = recipe;
  const stream = new ExampleStream(file, {
    ...limits,
    tokenizer: job.tokenizer,
    architecture,
    seed,
    ...(packing && { packTo: maxLength }),
    onFinish: (counts) => warnOf(job, { ...counts, notes: noteLines(counts.notes) }, limits),
  });
  if (file.checksFirst) await stream.checkAll();
  const first = await stream.orAllBadRows(() => file.examples(Array.from({ length: Math.min(FIRST_ROWS, file.count) }, (_, i) => i)));
  const set = await stream.orAllBadRows(() =>
    encodeExamples(
      first.map(({ example }) => example),
      job.tokenizer,
      architecture,
      limits,
    ),
  );
  job.onEncoded?.({ ...set, excerpt: { rows: first.length, of: file.count } });
  return stream;
}

/** The rows to learn from: the examples, or several of them in one where the recipe packs. */
export function rowsOf({ examples }: EncodedSet, { packing, maxLength }: LengthRecipe): readonly Encoded[] {
  return packing ? packed(examples, maxLength) : examples;
}

/** The rows of examples, of which there may be none. */
export function encoded(job: EncodeSetting, examples: readonly TrainingExample[], recipe: LengthRecipe): readonly Encoded[] {
  return examples.length === 0 ? [] : rowsOf(encodedSet(job, examples, recipe), recipe);
}

/** The date for the job's chats, and what a run records of it. A run goes on with the date it began with, unless another is given.
 *  Nothing is recorded where no text depends on it. */
export async function dateOf(
  { date, run, tokenizer }: EncodeSetting,
  examples: readonly TrainingExample[] | ExampleFile,
): Promise<{ date: Date | undefined; identity: Readonly<Record<string, string>> }> {
  // The rows of a large file are not known yet: it may have chats.
  const hasChats = !isList(examples) || examples.some(({ kind }) => kind === "messages");
  if (!writesDate(tokenizer) || !hasChats) return { date, identity: {} };
  const recorded = run === undefined ? undefined : (await recordedConfig(run))?.date;
  const chosen = date ?? (typeof recorded === "string" ? parseDate(recorded) : undefined) ?? new Date();
  return { date: chosen, identity: { date: dateText(chosen) } };
}

/** Whether all examples are in memory. */
export function isList(examples: readonly TrainingExample[] | ExampleFile): examples is readonly TrainingExample[] {
  return Array.isArray(examples);
}
