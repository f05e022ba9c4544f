/** @file `skein moa train | add-domain | remove-domain | gates`: Mixture-of-LoRAs models (arXiv:2403.03432). */

import type { Command } from "commander";
import type { Model } from "../../inference/model.ts";
import type { MoaJob, MoaModel } from "../../training/train-moa.ts";
import { given, number, oneOf, subcommand, targetModulesFlag, wholeNumber } from "../command.ts";
import { dataOf, domainOf, unknownDomain } from "../domain-data.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { progress } from "../progress.ts";

interface RecipeFlags extends CommonFlags {
  readonly base: string;
  readonly run?: string;
  readonly steps?: number;
  readonly expertSteps?: number;
  readonly batchSize?: number;
  readonly microBatchSize?: number;
  readonly lr?: number;
  readonly schedule?: string;
  readonly dropout?: number;
  readonly maxLength?: number;
  readonly seed?: number;
  readonly validateEvery?: number;
  readonly rank?: number;
  readonly alpha?: number;
  readonly targets?: string | readonly string[];
}
interface TrainFlags extends RecipeFlags {
  readonly out: string;
  readonly domains: readonly string[];
  readonly experts: readonly string[];
  readonly validation: readonly string[];
  readonly lambda?: number;
  readonly pooling?: string;
  readonly states?: string;
  readonly freezeLoras?: boolean;
  readonly fromScratch?: boolean;
  readonly labels: boolean;
}
interface AddFlags extends RecipeFlags {
  readonly data: string;
  readonly expert?: string;
  readonly replay: readonly string[];
  readonly rows?: "new" | "all";
}
export function addMoa(program: Command, io: Io): void {
  const moa = program
    .command("moa")
    .description("Mixture-of-LoRAs: a LoRA for each domain, and routers that tell a text's domain.")
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
  withLoras(withRecipe(command, "optimiser steps of the routers (default: 300)"))
    .requiredOption("--domains <name=file...>", "each domain and its examples")
    .requiredOption("--out <dir>", "the pool to make")
    .option("--experts <name=dir...>", "domains whose LoRA is trained already: PEFT adapters", [])
    .option("--validation <name=file...>", "examples to select the best state by", [])
    .option("--lambda <x>", "factor on the routers' loss (default: 1)", number)
    .option(
      "--pooling <how>",
      "what routers read of the prompt: its mean, or its last token: mean or last (default: mean)",
      oneOf("mean", "last"),
    )
    .option(
      "--states <whose>",
      "whose states routers read: base, or adapted by the domain's LoRA (default: base)",
      oneOf("base", "adapted"),
    )
    .option("--freeze-loras", "train the routers alone in the second stage")
    .option("--from-scratch", "leave the first stage out (an ablation)")
    .option("--no-labels", "routers learn from the text alone, on adapted states (an ablation)")
    .action(async (flags: TrainFlags) => {
      const { refusePool } = await import("../../storage/pool.ts");
      const { trainMoa } = await import("../../training/train-moa.ts");
      const { createMoaPool } = await import("../../inference/moa-pool.ts");
      const { checkFolder } = await import("../../checkpoint/atomic.ts");
      await refusePool(flags.out);
      await checkFolder(flags.out);
      const { lambda, pooling, states, freezeLoras, fromScratch, labels } = flags;
      const trained = await train(io, flags, `${flags.out}.run`, async (job) => {
        const domains = await dataOf(io, flags, job.model, flags);
        const options = { ...job.options, ...given({ lambda, pooling, states, freezeLoras }), labels };
        const result = await trainMoa({ ...job, options, domains, fromScratch: fromScratch === true });
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
  withLoras(withRecipe(command, "optimiser steps of the routers (default: 300)"))
    .requiredOption("--data <file>", "the domain's examples")
    .option("--expert <dir>", "its LoRA, if it is trained already")
    .option("--replay <name=file...>", "examples of the other domains, so that the new rows learn what is not theirs", [])
    .option("--rows <which>", "train the new rows, or all rows of the routers: new or all (default: new)", oneOf("new", "all"))
    .action(async (directory: string, name: string, flags: AddFlags) => {
      const { addDomain } = await import("../../training/train-moa.ts");
      const { exists } = await import("../../storage/files.ts");
      const { addToMoaPool, refuseExpert } = await import("../../inference/moa-pool.ts");
      const run = flags.run ?? `${directory}.${name}.run`;
      if (!(await exists(run))) await refuseExpert(directory, name); // else this may resume a run that was stopped after adding it
      const moa = await train(io, flags, run, async (job) => {
        const current = await openedMoa(directory, job.model);
        const domain = await domainOf(io, flags, job.model, { name, file: flags.data, ...given({ expert: flags.expert }) });
        const replay = await dataOf(io, flags, job.model, { domains: flags.replay });
        const result = await addDomain({ ...job, current, domain, replay, ...given({ rows: flags.rows }) });
        await addToMoaPool(directory, job.model, result.moa, name, result.adapters.at(-1)!);
        return result.moa;
      });
      show(io, flags, { pool: directory, domains: moa.domains }, `Added ${name} to ${directory}.`);
    });
}

function addRemoveDomain(moa: Command, io: Io): void {
  subcommand(moa, "remove-domain <pool> <name>", {
    summary: "Take a domain's LoRA and its rows of the routers out.",
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
  withRecipe(command, "optimiser steps of each LoRA's gates (default: 100)")
    .requiredOption("--domains <name=file...>", "each domain and its examples")
    .action(async (directory: string, flags: RecipeFlags & { readonly domains: readonly string[] }) => {
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
          await trainGate({ ...job, run: `${job.run}/${name}`, training, expert: join(directory, paths.get(name)!) });
          await recordExpert(directory, name);
        }
        return domains.map(({ name }) => name);
      });
      show(io, flags, { pool: directory, gates: names }, `Wrote gates of ${names.join(", ")} to ${directory}.`);
    });
}

function withRecipe(command: Command, steps: string): Command {
  return command
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .option("--run <dir>", "folder to resume from (default: beside the result)")
    .option("--steps <n>", steps, wholeNumber(0))
    .option("--batch-size <n>", "sequences per step (default: 1024)", wholeNumber(1))
    .option("--micro-batch-size <n>", "sequences per pass; a batch is accumulated from these (default: 32)", wholeNumber(1))
    .option("--lr <rate>", "learning rate after warm-up (default: 5e-3)", number)
    .option("--schedule <kind>", "constant, linear or cosine (default: constant)")
    .option("--dropout <p>", "default: what the model's configuration says", number)
    .option("--max-length <n>", "longest input and target in tokens (default: 512)", wholeNumber(2))
    .option("--seed <n>", "decides data order, dropout and first values (default: 42)", wholeNumber(0));
}

/** The options of the stage that trains LoRAs. */
function withLoras(command: Command): Command {
  return command
    .option("--expert-steps <n>", "optimiser steps for each domain's LoRA alone (default: 1000)", wholeNumber(0))
    .option("--validate-every <n>", "steps between validations; 0: keep the last state (default: 100)", wholeNumber(0))
    .option("--rank <r>", "rank of the LoRAs (default: 16)", wholeNumber(1))
    .option("--alpha <a>", "their scaling is alpha / rank (default: 1)", number)
    .option("--targets <names>", "modules to adapt, as PEFT's target_modules", targetModulesFlag);
}

type OpenJob = MoaJob & { readonly model: Model; readonly options: Record<string, unknown> };

/** Loads what a job needs, and runs it with progress and Ctrl-C. */
async function train<T>(io: Io, flags: RecipeFlags, run: string, work: (job: OpenJob) => Promise<T>): Promise<T> {
  const { loadModel } = await import("../../library/model.ts");
  await using model = await loadModel(flags.base);
  const tokenizer = await model.base.tokenizer();
  const { batchSize, microBatchSize, lr, dropout, maxLength, seed, validateEvery, schedule, rank, alpha, targets } = flags;
  const shared = given({
    batchSize,
    microBatchSize,
    lr,
    dropout,
    maxLength,
    seed,
    validateEvery,
    schedule: schedule && { kind: schedule },
  });
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
        options: { ...shared, ...given({ steps: flags.steps }) },
        expert: { ...shared, ...given({ steps: flags.expertSteps, rank, alpha, targets }) },
        hooks: { onProgress: (state) => bar.update(state), signal },
        onStage,
        onWarning: (message) => warn(io, flags, [message]),
      }),
    );
  } finally {
    bar.done();
  }
}

async function openedMoa(directory: string, model: Model): Promise<MoaModel> {
  const { openExperts } = await import("../../inference/open.ts");
  const { needMoaPool } = await import("../../inference/moa-pool.ts");
  const { lorasOf } = await import("../../inference/moa-woven.ts");
  const { moa, experts } = await needMoaPool(model, directory, await openExperts(model, directory));
  return { moa, adapters: lorasOf(experts) };
}
