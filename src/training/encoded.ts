/** @file The examples of a job as token ids, with what a person should know of them, and the date that its chat template writes. */

import { counted } from "../base/counted.ts";
import { OptionError } from "../base/errors.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Model } from "../inference/model.ts";
import { writesDate } from "../text/chat.ts";
import { dateText, parseDate } from "../text/template/strftime.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Encoded } from "./batches.ts";
import { type EncodedSet, encodeExamples, packed } from "./examples.ts";
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
  const set = encodeExamples(examples, job.tokenizer, architecture, { maxInput: limit, maxTarget: limit, date: job.date });
  const total = set.examples.length + set.emptied;
  if (set.truncated > 0) job.onWarning?.(`${set.truncated} of ${total} examples were longer than ${limit} tokens and were cut.`);
  if (set.emptied > 0) job.onWarning?.(`${set.emptied} of them had nothing left to learn from after the cut and were left out.`);
  if (set.unlearned > 0) job.onWarning?.(`${counted(set.unlearned, "row")} with nothing to be learned: left out.`);
  for (const note of set.notes) job.onWarning?.(note);
  return set;
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
  examples: readonly TrainingExample[],
): Promise<{ date: Date | undefined; identity: Readonly<Record<string, string>> }> {
  if (!writesDate(tokenizer) || examples.every(({ kind }) => kind !== "messages")) return { date, identity: {} };
  const recorded = run === undefined ? undefined : (await recordedConfig(run))?.date;
  const chosen = date ?? (typeof recorded === "string" ? parseDate(recorded) : undefined) ?? new Date();
  return { date: chosen, identity: { date: dateText(chosen) } };
}
