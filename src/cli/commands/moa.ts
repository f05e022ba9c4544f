/** @file `skein moa train | add-domain | remove-domain | gates`: Mixture-of-LoRAs models (arXiv:2403.03432). */

import type { Command } from "commander";
import * as z from "zod";
import type { Model } from "../../inference/model.ts";
import { expertRecipe, gateRecipe, moaRecipe } from "../../training/recipe.ts";
import { sampleOptions } from "../../training/samples.ts";
import type { MoaJob, MoaModel } from "../../training/train-moa.ts";
import { baseOptions } from "../base-model.ts";
import { subcommand } from "../command.ts";
import { baseModel, domains, run } from "../common-options.ts";
import { dataOf, domainOf, unknownDomain } from "../domain-data.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { progress } from "../progress.ts";
import { FEWEST_SAMPLES, loraWriter } from "../samples.ts";
import { type FlagRules, optionsFrom, targetModulesFlag, withOptions } from "../schema-options.ts";

const named = (description: string, value: string) => z.array(z.string()).default([]).meta({ description, value, variadic: true });
const written = (description: string) => z.int().min(FEWEST_SAMPLES).optional().meta({ description, unset: "none" });
const job = { ...baseModel, run };
const expertSteps = expertRecipe.shape.steps.meta({ description: "Optimizer steps for each domain's LoRA alone." });
const trainFlags = z.strictObject({
  ...job,
  domains: domains.default([]),
  out: z.string().meta({ description: "The folder of the new pool.", value: "dir" }),
  loras: named("Domains whose LoRA is already trained: PEFT adapters.", "name=dir"),
  validation: named("Examples that select the best state.", "name=file"),
  domainsFromSamples: written("For each of --loras without examples: so many texts that the LoRA writes itself."),
  ...sampleOptions.shape,
  fromScratch: z.boolean().default(false).meta({ description: "Skip the first stage (an ablation)." }),
});
const addFlags = z.strictObject({
  ...job,
  data: z.string().meta({ description: "The domain's examples.", value: "file" }),
  lora: z.string().optional().meta({ description: "The domain's LoRA, if it is already trained.", value: "dir" }),
  replay: named("Examples of the other domains, so that the new rows learn to score them low.", "name=file"),
  replayFromSamples: written("For each other domain without examples to replay: so many texts that its LoRA writes itself."),
  ...sampleOptions.shape,
  rows: z
    .enum(["new", "all"])
    .default("new")
    .meta({ description: "Train the new rows, or all rows of the routers: new or all.", value: "which" }),
});
const gatesFlags = z.strictObject({ ...job, domains });
type JobFlags = CommonFlags & { readonly base: string; readonly run?: string | undefined };
type TrainFlags = JobFlags & z.input<typeof trainFlags>;
type AddFlags = JobFlags & z.input<typeof addFlags>;
type GatesFlags = JobFlags & z.input<typeof gatesFlags>;

// A router reads one prompt per row.
const ROUTERS: FlagRules = { group: "Routers and LoRAs:", omit: ["packing"] };
// A new domain takes these from the model that it joins.
const NEW_ROWS: FlagRules = { ...ROUTERS, omit: ["packing", "pooling", "states", "labels", "freezeLoras"] };
const loraRecipe = z.strictObject({
  expertSteps,
  rank: expertRecipe.shape.rank,
  alpha: expertRecipe.shape.alpha,
  targets: expertRecipe.shape.targets,
});
const LORAS: FlagRules = { group: "Each domain's LoRA:", parsers: { targets: targetModulesFlag } };
// Options that both stages share are given once.
const SHARED = [
  "batchSize",
  "microBatchSize",
  "lr",
  "schedule",
  "clip",
  "weightDecay",
  "dropout",
  "maxLength",
  "seed",
  "validateEvery",
  "saveEvery",
];

export function addMoa(program: Command, io: Io, summary: string): void {
  const moa = program
    .command("moa")
    .description(summary)
    .helpCommand(false)
    .addHelpText("after", "\nExample:\n  $ skein moa train --base models/llama --domains finance=a.jsonl medicine=b.jsonl --out my-moa");
  addMoaTrain(moa, io);
  addAddDomain(moa, io);
  addRemoveDomain(moa, io);
  addMoaGates(moa, io);
}

function addMoaTrain(moa: Command, io: Io): void {
  const command = subcommand(moa, "train", {
    summary: "Train a LoRA for each domain, then routers and LoRAs together on mixed batches. The same command resumes a stopped run.",
    example: "skein moa train --base models/llama --domains finance=a.jsonl medicine=b.jsonl --out my-moa --lambda 1",
  });
  withOptions(command, trainFlags);
  withOptions(command, moaRecipe, ROUTERS);
  withOptions(command, loraRecipe, LORAS).action(async (flags: TrainFlags) => {
    const { refusePool } = await import("../../storage/pool.ts");
    const { trainMoa } = await import("../../training/train-moa.ts");
    const { createMoaPool } = await import("../../inference/moa-pool.ts");
    const { checkFolder } = await import("../../checkpoint/atomic.ts");
    await refusePool(flags.out);
    await checkFolder(flags.out);
    const { fromScratch = false } = flags;
    const trained = await train(io, flags, `${flags.out}.run`, async (job) => {
      const { domainsFromSamples: count } = flags;
      const domains = await dataOf(io, flags, job.model, {
        ...flags,
        domains: flags.domains ?? [],
        ...(count && { written: loraWriter(io, flags, job, count) }),
      });
      const result = await trainMoa({ ...job, options: optionsFrom(moaRecipe, flags, ROUTERS), domains, fromScratch });
      await createMoaPool(flags.out, job.model, flags.base, result.moa, result.adapters);
      return result;
    });
    show(io, flags, { out: flags.out, domains: trained.moa.domains }, `Wrote ${flags.out}: ${trained.moa.domains.join(", ")}.`);
  });
}

function addAddDomain(moa: Command, io: Io): void {
  const command = subcommand(moa, "add-domain <pool> <name>", {
    summary: "Train a LoRA for one more domain, and a row for it in each router; nothing else in the pool changes.",
    example: "skein moa add-domain my-moa code --base models/llama --data code.jsonl --replay finance=a.jsonl medicine=b.jsonl",
  });
  withOptions(command, addFlags);
  withOptions(command, moaRecipe, NEW_ROWS);
  withOptions(command, loraRecipe, LORAS).action(async (directory: string, name: string, flags: AddFlags) => {
    const { addDomain } = await import("../../training/train-moa.ts");
    const { exists } = await import("../../storage/files.ts");
    const { addToMoaPool, refuseExpert } = await import("../../inference/moa-pool.ts");
    const run = flags.run ?? `${directory}.${name}.run`;
    if (!(await exists(run))) await refuseExpert(directory, name); // else this may resume a run that was stopped after adding it
    const moa = await train(io, flags, run, async (job) => {
      const current = await openedMoa(directory, job.model);
      const domain = await domainOf(io, flags, job.model, { name, file: flags.data, lora: flags.lora });
      const replay = await dataOf(io, flags, job.model, { domains: flags.replay ?? [] });
      if (flags.replayFromSamples) {
        const write = loraWriter(io, flags, job, flags.replayFromSamples);
        for (const [i, other] of current.moa.domains.entries()) {
          if (replay.some(({ name: given }) => given === other)) continue;
          replay.push({ name: other, training: await write(other, current.adapters[i]!) });
        }
      }
      const result = await addDomain({
        ...job,
        options: optionsFrom(moaRecipe, flags, NEW_ROWS),
        current,
        domain,
        replay,
        rows: flags.rows ?? "new",
      });
      await addToMoaPool(directory, job.model, result.moa, name, result.adapters.at(-1)!);
      return result.moa;
    });
    show(io, flags, { pool: directory, domains: moa.domains }, `Added ${name} to ${directory}.`);
  });
}

function addRemoveDomain(moa: Command, io: Io): void {
  subcommand(moa, "remove-domain <pool> <name>", {
    summary: "Remove a domain's LoRA, and its rows from the routers.",
    example: "skein moa remove-domain my-moa medicine",
  }).action(async (directory: string, name: string, flags: CommonFlags) => {
    const { removeFromMoaPool } = await import("../../inference/moa-pool.ts");
    await removeFromMoaPool(directory, name);
    show(io, flags, { pool: directory, removed: name }, `Removed ${name} from ${directory}.`);
  });
}

function addMoaGates(moa: Command, io: Io): void {
  const command = subcommand(moa, "gates <pool>", {
    summary: "Train PHATGOOSE gates for the domains' LoRAs, so that --router phatgoose can be compared on the same pool.",
    example: "skein moa gates my-moa --base models/llama --domains finance=a.jsonl medicine=b.jsonl",
  });
  withOptions(command, gatesFlags);
  withOptions(command, gateRecipe, { group: "Training:" }).action(async (directory: string, flags: GatesFlags) => {
    const { join } = await import("node:path");
    const { listPool, recordExpert } = await import("../../storage/pool.ts");
    const { trainGate } = await import("../../training/train.ts");
    const paths = new Map((await listPool(directory)).experts.map(({ name, path }) => [name, path]));
    const names = await train(io, flags, `${directory}.gates.run`, async ({ expert: _, onStage, ...job }) => {
      const domains = await dataOf(io, flags, job.model, { domains: flags.domains });
      const known = [...paths].flatMap(([name, path]) => (path === undefined ? [] : [name]));
      for (const { name } of domains) if (!known.includes(name)) throw unknownDomain(name, known);
      for (const { name, training } of domains) {
        onStage?.(`gates of ${name}`);
        await trainGate({
          ...job,
          options: optionsFrom(gateRecipe, flags),
          run: `${job.run}/${name}`,
          training,
          expert: join(directory, paths.get(name)!),
        });
        await recordExpert(directory, name);
      }
      return domains.map(({ name }) => name);
    });
    show(io, flags, { pool: directory, gates: names }, `Wrote gates of ${names.join(", ")} to ${directory}.`);
  });
}

type OpenJob = MoaJob & { readonly model: Model };

/** Loads what a job needs, and runs it with progress and Ctrl-C. */
async function train<T>(io: Io, flags: JobFlags, run: string, work: (job: OpenJob) => Promise<T>): Promise<T> {
  const { loadModel } = await import("../../library/model.ts");
  await using model = await loadModel(flags.base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
  const tokenizer = await model.base.tokenizer();
  let bar = progress(io, flags, { label: "train" });
  const onStage = (label: string) => {
    bar.done();
    bar = progress(io, flags, { label });
  };
  try {
    return await interruptible(io, (signal) =>
      work({
        model,
        tokenizer,
        run: flags.run ?? run,
        expert: loraOptions(flags),
        hooks: { onProgress: (state) => bar.update(state), signal },
        onStage,
        onWarning: (message) => warn(io, flags, [message]),
      }),
    );
  } finally {
    bar.done();
  }
}

/** The options of the stage that trains LoRAs: its own, and those that both stages share. */
function loraOptions(flags: object): Record<string, unknown> {
  const { expertSteps: steps, ...own } = optionsFrom(loraRecipe, flags);
  const all = optionsFrom(expertRecipe, flags);
  const shared = Object.fromEntries(SHARED.flatMap((name) => (name in all ? [[name, all[name]]] : [])));
  return { ...shared, ...own, ...(steps !== undefined && { steps }) };
}

async function openedMoa(directory: string, model: Model): Promise<MoaModel> {
  const { openExperts } = await import("../../inference/open.ts");
  const { needMoaPool } = await import("../../inference/moa-pool.ts");
  const { lorasOf } = await import("../../inference/moa-woven.ts");
  const { moa, experts } = await needMoaPool(model, directory, await openExperts(model, directory));
  return { moa, adapters: lorasOf(experts) };
}
