/** @file `skein farm plan | run`: a pool made by its recipe, here or by workers on a queue (farm-queue.ts). `skein farm job` is what a farm
 *  starts for each job. */

import type { Command } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import type { FarmEvent } from "../../fleet/crew.ts";
import type { FarmResult } from "../../fleet/farm.ts";
import type { FarmPlan } from "../../fleet/plan.ts";
import { deviceOption } from "../../runtime/device.ts";
import { subcommand } from "../command.ts";
import { farmTable } from "../farm-table.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, table, warn } from "../io.ts";
import { duration } from "../progress.ts";
import { programOn, remoteFlags, remoteOf } from "../remote-farm.ts";
import { withOptions } from "../schema-options.ts";
import { addFarmChanges, addFarmStatus, addFarmWorker } from "./farm-queue.ts";

const data = z
  .string()
  .optional()
  .meta({ description: "The folder of datasets and templates.", value: "dir", unset: "the recipe's, else data" });
const groups = z
  .string()
  .optional()
  .meta({ description: "The file of groups that the recipe's experts name.", value: "file", unset: "the recipe's" });
const workers = z.int().min(1).optional().meta({ description: "Jobs side by side.", unset: "as many as cores and memory allow" });
const planFlags = z.strictObject({
  data,
  groups,
  workers,
  device: deviceOption,
  measure: z.boolean().default(false).meta({ description: "Train a few steps of the first expert to know time and memory." }),
});
const runFlags = z.strictObject({
  out: z.string().meta({ description: "Folder of the pool; what a stopped farm goes on from is in <dir>.farm.", value: "dir" }),
  data,
  groups,
  workers,
  device: deviceOption,
  ...remoteFlags,
  evaluation: z.boolean().default(true).meta({ description: "Compare methods on the pool.", off: "Make the pool and compare nothing." }),
});
type PlanFlags = CommonFlags & z.input<typeof planFlags>;
type RunFlags = CommonFlags & z.input<typeof runFlags>;

export function addFarm(program: Command, io: Io, summary: string): void {
  const farm = program
    .command("farm")
    .description(summary)
    .helpCommand(false)
    .addHelpText("after", "\nExample:\n  $ skein farm run my-pool.yaml --out my-pool");
  addFarmPlan(farm, io);
  addFarmRun(farm, io);
  addFarmWorker(farm, io);
  addFarmStatus(farm, io);
  addFarmChanges(farm, io);
  farm.command("job <folder>", { hidden: true }).action(async (folder: string) => {
    const { serveJob } = await import("../../fleet/job-process.ts");
    await serveJob(folder);
  });
}

function addFarmPlan(farm: Command, io: Io): void {
  const command = subcommand(farm, "plan <recipe>", {
    summary: "Say which jobs a recipe has, how many tokens, how long and how much memory, and what would be downloaded. Starts nothing.",
    example: "skein farm plan my-pool.yaml",
  });
  withOptions(command, planFlags).action(async (path: string, flags: PlanFlags) => {
    const { planFarm } = await import("../../fleet/plan.ts");
    const recipe = await recipeOf(path, flags);
    const { measure, workers, device } = flags;
    const plan = await planFarm(recipe, { measure, workers, program: measure ? await programOn(device) : undefined });
    show(io, flags, plan, planText(plan));
  });
}

function addFarmRun(farm: Command, io: Io): void {
  const command = subcommand(farm, "run <recipe>", {
    summary:
      "Train every expert of a recipe with its gates and statistics, make the pool, evaluate, and write the report. The same command goes on.",
    example: "skein farm run my-pool.yaml --out my-pool",
  });
  withOptions(command, runFlags).action(async (path: string, flags: RunFlags) => {
    const { failed, runFarm } = await import("../../fleet/farm.ts");
    const recipe = await recipeOf(path, flags);
    const { out, workers, evaluation, device } = flags;
    const program = await programOn(device);
    const shown = farmTable(io, flags);
    const onWarning = (message: string) => shown.above(() => warn(io, flags, [message]));
    const remote = await remoteOf(flags, { creates: true, onTrouble: onWarning });
    const result = await interruptible(io, (signal) =>
      runFarm(recipe, {
        out,
        workers,
        remote,
        withoutEvaluation: evaluation === false,
        program,
        signal,
        onEvent: (event: FarmEvent) => shown.update(event),
        onWarning,
      }),
    ).finally(async () => {
      shown.done();
      await remote?.queue.close();
      remote?.store.close();
    });
    show(io, flags, result, resultText(result));
    if (result.experts.some(({ state }) => state === "failed")) throw failed(result.experts, path);
  });
}

async function recipeOf(path: string, { data, groups }: Pick<PlanFlags, "data" | "groups">) {
  const { readPoolRecipe } = await import("../../fleet/recipe-file.ts");
  return readPoolRecipe(path, { dataFolder: data, groups });
}

function resultText({ pool, experts, report, seconds }: FarmResult): string {
  const made = experts.filter(({ state }) => state !== "failed").length;
  const page = report === undefined ? "" : ` The report: ${report}.`;
  return `Made ${pool} with ${counted(made, "expert")} in ${duration(seconds)}.${page}`;
}

function planText(plan: FarmPlan): string {
  const { experts, jobs, tokens, seconds, memoryBytes, workers, downloads, missing, assumptions } = plan;
  const rows = experts.map(({ name, data, steps, gateSteps, batchSize, microBatchSize, tokens: own, seconds: time }) => [
    name,
    data,
    `${steps} + ${gateSteps}`,
    `${batchSize} (${microBatchSize})`,
    millions(own),
    time === undefined ? "" : long(time),
  ]);
  const total = [
    `${counted(jobs.experts, "expert")}, ${counted(jobs.routers + jobs.evaluation, "job")} after them, ${millions(tokens)} tokens`,
    ...(seconds === undefined ? [] : [`about ${long(seconds)} with ${workers} side by side`]),
    ...(memoryBytes === undefined ? [] : [`about ${(memoryBytes / 1e9).toFixed(1)} GB a job`]),
  ].join("; ");
  return [
    table([["expert", "data", "steps + gates", "batch (micro)", "tokens", "time"], ...rows]),
    `${total}.`,
    ...listed("Would be downloaded:", downloads),
    ...listed("Has to be put there first:", missing),
    ...assumptions,
  ].join("\n");
}

function listed(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [[title, ...items.map((item) => `  ${item}`)].join("\n")];
}

const millions = (count: number) => (count < 1e6 ? `${(count / 1e3).toFixed(0)}k` : `${(count / 1e6).toFixed(1)}M`);

/** Seconds as "0:07", "1:02:03" or "12 days". */
function long(seconds: number): string {
  return seconds < 2 * 86_400 ? duration(seconds) : `${(seconds / 86_400).toFixed(0)} days`;
}
