/** @file One LoRA of the demo or the study, trained in this process. */

import { join } from "node:path";
import { derivedSeed } from "../base/random.ts";
import type { Example } from "../demo/documents.ts";
import type { Model } from "../inference/model.ts";
import { exists } from "../storage/files.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { LoopHooks } from "../training/loop.ts";
import { trainExpert } from "../training/train.ts";

export interface LoraSetting {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Name of the base, for the card. */
  readonly baseName: string;
  /** The run, with its saved states and learning curves, is kept in OUT/runs/<name>. */
  readonly out: string;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Called as each part begins, and while it trains. */
  readonly onPart?: (part: string, progress?: Parameters<NonNullable<LoopHooks["onProgress"]>>[0]) => void;
}
export interface LoraJob {
  readonly training: readonly Example[];
  readonly validation?: readonly Example[];
  readonly steps: number;
}

const BATCH = 32; // examples

/** Examples in the form of training data. */
export const asPairs = (made: readonly Example[]) => made.map(({ input, target }) => ({ kind: "pair" as const, input, target }));

/** Trains one LoRA into `folder`, unless it exists. A stopped run goes on. */
export async function lora(setting: LoraSetting, name: string, folder: string, job: LoraJob): Promise<void> {
  if (await exists(join(folder, "README.md"))) return;
  const { model, tokenizer, baseName, out, seed, signal, onPart } = setting;
  const { training, validation = [], steps } = job;
  const part = name === "multitask" ? "multitask LoRA" : `expert ${name}`;
  onPart?.(part);
  await trainExpert({
    model,
    tokenizer,
    base: baseName,
    training: asPairs(training),
    validation: asPairs(validation),
    out: folder,
    run: join(out, "runs", name),
    hooks: { ...(signal ? { signal } : {}), onProgress: (progress) => onPart?.(part, progress) },
    options: { batchSize: BATCH, microBatchSize: BATCH, seed: derivedSeed(seed, name), steps, validateEvery: 50, saveEvery: 50 },
  });
}
