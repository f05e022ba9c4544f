/** @file Training text that an expert writes itself, for experts whose data nobody has.
 *
 *  The adapted model continues prompts: given ones, else openings that the base or the expert samples from nothing. Empty completions
 *  are left out, and so is a pair of prompt and completion that nearly repeats an earlier one. The others become training examples,
 *  whose target is the completion.
 *
 *      RUN/config.json      what the samples are made with
 *      RUN/samples.jsonl    { input, target }, one line for each attempt, in their order
 *
 *  Batch b has the seed derived from the seed and b, and is written before the next one, so a stopped run goes on with the same samples. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import * as z from "zod";
import type { Adapter } from "../adapters/adapter.ts";
import { adapterTensors } from "../adapters/in-graph.ts";
import { DataError } from "../base/errors.ts";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { stopped } from "../base/stopped.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { parseRow } from "../data/row.ts";
import { readRows } from "../data/rows.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { generateBatch } from "../generation/generate.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { singleAdapter } from "../inference/woven.ts";
import { exists } from "../storage/files.ts";
import { promptIds } from "../text/prompt-ids.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { hashOf } from "./learn.ts";
import { textFilter } from "./near-duplicates.ts";
import { Run } from "./run.ts";

/** The options of sampling. */
export const sampleOptions = z.strictObject({
  sampleTemperature: z.number().positive().default(1).meta({ description: "Divides the logits before a sample is drawn.", value: "t" }),
  sampleLength: z.int().min(1).default(64).meta({ description: "Longest sample in tokens." }),
  sampleSeed: z.int().default(42).meta({ description: "Decides the openings and the samples." }),
  sampleBatch: z.int().min(1).default(32).meta({ description: "Samples that are written side by side." }),
});
/** How an expert is sampled; all may be left out. */
export type SampleOptions = z.input<typeof sampleOptions>;

/** The inputs of `expertSamples`. */
export interface SampleJob {
  /** The base model. */
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly adapter: Adapter;
  /** The number of samples. */
  readonly count: number;
  /** What the expert continues; when absent, openings. */
  readonly prompts?: readonly string[] | undefined;
  /** Which model writes the openings. Default: the base. Openings of the expert differ between experts, as routers by prompts need. */
  readonly openings?: "base" | "expert";
  readonly options?: SampleOptions;
  /** Folder to keep the samples in and to go on from. */
  readonly run?: string | undefined;
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of samples kept. */
  readonly onProgress?: (kept: number) => void;
  readonly onWarning?: (message: string) => void;
}

const SAMPLE = z.object({ input: z.string(), target: z.string() });
type Sample = Readonly<z.output<typeof SAMPLE>>;

const MOST_ATTEMPTS = 4; // times the number of samples
const FEWEST = 0.5; // share of the number of samples; with fewer the expert repeats itself
const MOST_OF_ONE = 0.95; // share of one completion among all
const OPENING = 12; // tokens

/** Training examples that the expert writes. Fewer than asked for, with a warning, if many nearly repeat others.
 *  @throws DataError for an expert that only repeats itself, StoppedError when the signal aborts: with `run`, the same call goes on. */
export async function expertSamples(job: SampleJob): Promise<TrainingExample[]> {
  const { count, run, signal } = job;
  const options = sampleOptions.parse(job.options ?? {});
  const attempts = await started(job, options);
  const accepts = textFilter();
  const kept: Sample[] = [];
  const add = (some: readonly Sample[]) => {
    for (const sample of some)
      if (sample.target.trim() !== "" && kept.length < count && accepts(`${sample.input} ${sample.target}`)) kept.push(sample);
    job.onProgress?.(kept.length);
  };
  add(attempts);
  const limit = MOST_ATTEMPTS * Math.max(count, options.sampleBatch);
  while (kept.length < count && attempts.length < limit) {
    if (signal?.aborted) throw stopped({ work: "generation", done: kept.length, total: count, parts: "samples", kept: run, option: "run" });
    const more = await writtenBatch(job, options, attempts.length / options.sampleBatch);
    attempts.push(...more);
    if (run !== undefined) await writeFileAtomically(join(run, SAMPLES), attempts.map((sample) => `${JSON.stringify(sample)}\n`).join(""));
    add(more);
  }
  checkVariety(attempts, kept, count);
  if (kept.length < count) job.onWarning?.(`${kept.length} of ${count} samples: the others were empty or nearly repeated earlier ones.`);
  return kept.map(({ input, target }) => ({ kind: "pair", input, target, joined: true }));
}

const SAMPLES = "samples.jsonl";

/** The attempts of a run that was stopped; none for a new one. */
async function started(
  { model, adapter, prompts, openings = "base", run }: SampleJob,
  options: z.output<typeof sampleOptions>,
): Promise<Sample[]> {
  if (run === undefined) return [];
  const hash = createHash("sha256");
  for (const [name, { data }] of adapterTensors(adapter))
    hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const start = hash.digest("hex").slice(0, 16);
  const data = hashOf(prompts ?? []);
  await Run.open(run, { kind: "samples", ...options, openings, base: await model.base.fingerprint(), start, data });
  const file = join(run, SAMPLES);
  if (!(await exists(file))) return [];
  return (await readRows(file)).map((row) => parseRow(SAMPLE, row, "Delete the run's folder to start afresh."));
}

async function writtenBatch(job: SampleJob, options: z.output<typeof sampleOptions>, batch: number): Promise<Sample[]> {
  const { model, tokenizer, adapter } = job;
  const { sampleTemperature: temperature, sampleLength, sampleSeed, sampleBatch } = options;
  const seed = derivedSeed(sampleSeed, "batch", batch);
  const expert = withWoven(model, singleAdapter(adapter, model.base.modules));
  const opens = job.openings === "expert" ? expert : model;
  const prompts = job.prompts ? chosen(job.prompts, batch, options) : await openings(opens, tokenizer, { seed, count: sampleBatch });
  const targets = await continued(expert, tokenizer, prompts, { seed, temperature, maxNewTokens: sampleLength });
  return prompts.map((input, i) => ({ input, target: targets[i]! }));
}

/** The prompts of a batch: all of them in an order by the seed, again and again. */
function chosen(prompts: readonly string[], batch: number, { sampleSeed, sampleBatch }: z.output<typeof sampleOptions>): string[] {
  const order = shuffled(prompts, seededRandom(derivedSeed(sampleSeed, "prompts")));
  return Array.from({ length: sampleBatch }, (_, i) => order[(batch * sampleBatch + i) % order.length]!);
}

/** Beginnings of texts that a model samples after nothing. An encoder-decoder model writes what follows an empty input. */
async function openings(model: Model, tokenizer: Tokenizer, { seed, count }: { seed: number; count: number }): Promise<string[]> {
  const nothing = Array.from({ length: count }, () => "");
  const texts = await continued(model, tokenizer, nothing, { seed: derivedSeed(seed, "openings"), temperature: 1, maxNewTokens: OPENING });
  return texts.map((text) => text.trim());
}

const NUM_OPENINGS = 32;

/** Texts that the base samples after nothing, always the same ones. */
export async function openingsOf(model: Model, tokenizer: Tokenizer): Promise<string[]> {
  const texts = await openings(model, tokenizer, { seed: 1, count: NUM_OPENINGS });
  return [...new Set(texts)].filter((text) => text !== "");
}

interface Sampling {
  readonly seed: number;
  readonly temperature: number;
  readonly maxNewTokens: number;
}
/** A completion of each prompt. The seed decides the completions of a text in their order, so a text that occurs twice gets two. */
async function continued(model: Model, tokenizer: Tokenizer, prompts: readonly string[], sampling: Sampling): Promise<string[]> {
  const texts = [...new Set(prompts)];
  const n = Math.max(...texts.map((text) => prompts.filter((prompt) => prompt === text).length));
  const ids = texts.map((text) => promptIds(tokenizer, model.base.architecture.kind, text));
  const eosIds = tokenizer.eosId === undefined ? {} : { eosIds: [tokenizer.eosId] };
  const batchSize = Math.max(1, Math.floor(prompts.length / n));
  const written = await generateBatch(model, ids, { ...sampling, ...eosIds, n, topK: 0, topP: 1, batchSize });
  const taken = texts.map(() => 0);
  return prompts.map((prompt) => {
    const text = texts.indexOf(prompt);
    return tokenizer.decode(written[text * n + taken[text]!++]!.ids, { skipSpecialTokens: true });
  });
}

/** Refuses samples from which a gate would learn one text. */
function checkVariety(attempts: readonly Sample[], kept: readonly Sample[], count: number): void {
  const counts = new Map<string, number>();
  for (const { target } of attempts) counts.set(target.trim(), (counts.get(target.trim()) ?? 0) + 1);
  const [most = "", times = 0] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
  const isOne = times > MOST_OF_ONE * attempts.length;
  if (!isOne && kept.length >= FEWEST * count) return;
  const what = isOne
    ? `The expert repeats itself: ${times} of ${attempts.length} samples are ${most === "" ? "empty" : JSON.stringify(most.slice(0, 60))}.`
    : `The expert repeats itself: of ${attempts.length} samples only ${kept.length} are not nearly the same as an earlier one.`;
  throw new DataError({
    code: "samples-alike",
    data: { done: kept.length, total: count },
    what,
    fix: "Give prompts of its own task (`prompts`), sample at a higher temperature, ask for fewer samples, or use examples.",
  });
}
