/** @file Gates from data against gates from samples: how well PHATGOOSE routes with gates that were trained on texts which the experts wrote
 *  themselves, beside Arrow and SpectR, which need neither.
 *
 *    agreement   the share of tokens and modules at which the sampled gates choose the same first expert as the gates from data */

import { join } from "node:path";
import type { Expert, Gates } from "../adapters/expert.ts";
import { UserError } from "../base/errors.ts";
import { derivedSeed } from "../base/random.ts";
import { evaluate } from "../evaluation/comparison/evaluate.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import { promptRoutes } from "../evaluation/scoring/prompt-routes.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { readGates, saveGates } from "../storage/expert.ts";
import { exists } from "../storage/files.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { GateOptions } from "../training/recipe.ts";
import { expertSamples, type SampleOptions } from "../training/samples.ts";
import { trainGate } from "../training/train.ts";
import { table } from "./over-seeds.ts";
import { meanOf, measured } from "./public-measures.ts";

export interface SampleGatesJob {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** With gates from data. */
  readonly experts: readonly Expert[];
  readonly tasks: readonly EvaluationTask[];
  /** Numbers of samples. */
  readonly counts: readonly number[];
  /** What an expert of this name continues; openings of the base when absent. */
  readonly prompts?: ((expert: string) => readonly string[] | undefined) | undefined;
  readonly gates: GateOptions;
  readonly samples?: SampleOptions;
  readonly seed: number;
  readonly out: string;
  readonly onPart?: (part: string) => void;
}
export interface SampleGates {
  readonly seed: number;
  /** By method: gates from data, from so many samples, and routers without gates. */
  readonly methods: Readonly<Record<string, SampledMethod>>;
}
export interface SampledMethod {
  /** The mean of each group of tasks: loss per answer token, or a share of right answers where tasks generate. */
  readonly groups: Readonly<Record<string, number>>;
  readonly agreement?: number;
  /** Experts whose own texts were too alike to train gates on; they have those from data. */
  readonly alike?: readonly string[];
}

/** Trains the missing gates and compares them. */
export async function sampleGates(job: SampleGatesJob): Promise<SampleGates> {
  const { model, experts, counts, tasks, seed } = job;
  const methods: Record<string, SampledMethod> = {};
  const routed = (gated: readonly Expert[]) => evaluated(job, gated, { kind: "router", router: "phatgoose", topK: 2 });
  methods["gates from data"] = { groups: await routed(experts) };
  const own = await firstChoices(model, job.tokenizer, experts, tasks);
  for (const count of counts) {
    const { gated, alike } = await sampledExperts(job, count);
    job.onPart?.(`evaluating gates from ${count} samples`);
    const choices = await firstChoices(model, job.tokenizer, gated, tasks);
    const same = choices.filter((choice, i) => choice === own[i]).length;
    methods[`gates from ${count} samples`] = { groups: await routed(gated), agreement: same / own.length, alike };
  }
  for (const router of ["arrow", "spectr", "uniform"])
    methods[router] = { groups: await evaluated(job, experts, { kind: "router", router }) };
  return { seed, methods };
}

async function sampledExperts(job: SampleGatesJob, count: number): Promise<{ gated: Expert[]; alike: string[] }> {
  const { model, experts, out, seed } = job;
  const [gated, alike]: [Expert[], string[]] = [[], []];
  for (const expert of experts) {
    const folder = join(out, `gates-${count}`, expert.name);
    const covered = new Set(expert.adapter.modules.keys());
    if (!(await exists(folder))) {
      job.onPart?.(`gates of ${expert.name} from ${count} samples`);
      const gates = await trained(job, expert, count);
      if (gates === undefined) {
        alike.push(expert.name);
        gated.push(expert);
        continue;
      }
      await saveGates(folder, gates, { training: { samples: count, seed } });
    }
    const found = await readGates(folder, covered, model.base.modules);
    gated.push({ ...expert, ...(found && { gates: found.gates }) });
  }
  return { gated, alike };
}

async function trained(job: SampleGatesJob, { name, adapter }: Expert, count: number): Promise<Gates | undefined> {
  const { model, tokenizer, prompts, seed, out } = job;
  const options = { ...job.samples, sampleSeed: derivedSeed(seed, name) };
  const run = join(out, "samples", String(count), name);
  try {
    const training = await expertSamples({ model, tokenizer, adapter, count, prompts: prompts?.(name), options, run });
    return await trainGate({ model, tokenizer, expert: adapter, training, options: { ...job.gates, seed: derivedSeed(seed, name) } });
  } catch (error) {
    if (error instanceof UserError && error.code === "samples-alike") return undefined;
    throw error;
  }
}

async function evaluated({ model, tokenizer, tasks, out }: SampleGatesJob, experts: readonly Expert[], method: Method) {
  const cache = join(out, "results");
  const { methods } = await evaluate({ model, tokenizer, tasks, experts, methods: [method], batchSize: 32, cache });
  const [{ tasks: results }] = methods as [(typeof methods)[number]];
  const values = new Map<string, number[]>();
  for (const { name, group = "", kind } of tasks) {
    const result = results[name]!;
    const value = kind === "generate_until" ? result.score.value : measured(result).loss;
    values.set(group, [...(values.get(group) ?? []), value]);
  }
  return Object.fromEntries([...values].map(([group, own]) => [group, meanOf(own)]));
}

const ROWS = 4; // of each task: thousands of tokens and modules in all

/** The first expert of every token at every module, over some inputs of each task. */
async function firstChoices(
  model: Model,
  tokenizer: Tokenizer,
  experts: readonly Expert[],
  tasks: readonly EvaluationTask[],
): Promise<number[]> {
  const pool = withWoven(model, new RoutedPool(experts, model.base.modules, { router: phatgoose() }));
  const choices: number[] = [];
  for (const { examples } of tasks) {
    for (const { input } of examples.slice(0, ROWS)) {
      for (const { experts: chosen } of (await promptRoutes(pool, tokenizer, input)).values()) {
        const k = chosen.shape[2]!;
        for (let at = 0; at < chosen.data.length; at += k) choices.push(Number(chosen.data[at]));
      }
    }
  }
  return choices;
}

/** The results as a page: means over seeds. */
export function sampleGatesTable(
  runs: readonly SampleGates[],
  { name, command, source, commit }: { readonly name: string; readonly command: string; readonly source: string; readonly commit: string },
): string {
  const [first] = runs as [SampleGates];
  const groups = Object.keys(Object.values(first.methods)[0]?.groups ?? {});
  const over = (read: (run: SampleGates) => number | undefined) => {
    const values = runs.flatMap((run) => read(run) ?? []);
    return values.length === 0 ? "" : meanOf(values).toFixed(3);
  };
  const rows = Object.keys(first.methods).map((method) => [
    method,
    ...groups.map((group) => over((run) => run.methods[method]?.groups[group])),
    over((run) => run.methods[method]?.agreement),
    String(Math.max(...runs.map((run) => run.methods[method]?.alike?.length ?? 0)) || ""),
  ]);
  return `# Gates from data and from samples: ${name}

Seeds: ${runs.map(({ seed }) => seed).join(", ")}. Commit ${commit}. Prompts: ${source}. Made by \`${command}\`.
The demo's numbers are shares of exact answers, more is better; the public study's are nats per answer token, less is better. Agreement: the share of tokens and modules
at which the first expert is that of the gates from data. Too alike: experts whose texts were refused, which keep their gates from data.

${table(["", ...groups, "agreement", "too alike"], rows)}
`;
}
