/** @file `skein farm worker | status | cancel | retry`: farms on several machines. */

import type { Command } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import type { JobStatus } from "../../fleet/jobs-on-queue.ts";
import { deviceOption } from "../../runtime/device.ts";
import { subcommand } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, table, warn } from "../io.ts";
import { duration } from "../progress.ts";
import { labelsFlag, noQueue, programOn, queueFlag, queueOf, remoteFlags, remoteOf } from "../remote-farm.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";

const LEASE = 30; // s

const workerFlags = z.strictObject({
  ...remoteFlags,
  labels: labelsFlag.meta({ description: "Take the jobs of experts with these labels too.", unset: "jobs without a label" }),
  device: deviceOption,
  workers: z.int().min(1).default(1).meta({ description: "Jobs side by side." }),
  base: z
    .string()
    .optional()
    .meta({ description: "The folder of the base model on this machine.", value: "dir", unset: "as the recipe names it" }),
  data: z
    .string()
    .optional()
    .meta({ description: "The folder of datasets and templates on this machine.", value: "dir", unset: "as the recipe names it" }),
  work: z.string().optional().meta({ description: "The folder for files of running jobs.", value: "dir", unset: "a temporary one" }),
  lease: z.number().min(1).default(LEASE).meta({ description: "Seconds without a word after which a job goes to another worker." }),
  stateEvery: z.number().min(0.1).default(60).meta({ description: "Seconds between states of a job that the store gets." }),
  idle: z.number().min(0).optional().meta({ description: "End after so many seconds without a job.", unset: "wait for ever" }),
});
const choiceFlags = z.strictObject({
  queue: queueFlag,
  farm: z.string().optional().meta({ description: "Only jobs of this farm: the recipe's name.", unset: "all farms" }),
  labels: labelsFlag.meta({ description: "Jobs with these labels too.", unset: "jobs without a label" }),
});
type WorkerFlags = CommonFlags & z.input<typeof workerFlags>;
type ChoiceFlags = CommonFlags & z.infer<typeof choiceFlags>;

export function addFarmWorker(farm: Command, io: Io): void {
  const command = subcommand(farm, "worker", {
    summary: "Take jobs from a farm's queue and do them, each in a process of its own, until it is stopped. Any number of machines may.",
    example: "skein farm worker --queue redis://queue:6379 --store /shared/farm",
  });
  withOptions(command, workerFlags).action(async (flags: WorkerFlags) => {
    const { runWorker, workerName } = await import("../../fleet/worker.ts");
    const worker = workerName();
    const { labels, lease, data, stateEvery, device, ...rest } = workerFlags.parse(optionsFrom(workerFlags, flags));
    const program = await programOn(device);
    const onWarning = (message: string) => warn(io, flags, [message]);
    const remote = await remoteOf(flags, { labels, lease, worker, onTrouble: onWarning });
    if (!remote) throw noQueue();
    const { queue, store } = remote;
    const tell = (value: object, text: string) => io.err(flags.json ? `${JSON.stringify({ worker: value })}\n` : `${text}\n`);
    tell({ name: worker, state: "ready", lease, stateEvery }, `${worker} takes jobs from ${queue.place}.`);
    const result = await interruptible(io, (signal) =>
      runWorker({
        ...rest,
        queue,
        store,
        worker,
        lease,
        saveEvery: stateEvery,
        dataFolder: data,
        program,
        signal,
        onEvent: (event) => tell({ name: worker, ...event }, `${event.job}  ${event.state}`),
        onWarning,
      }),
    ).finally(async () => {
      await queue.close();
      store.close();
    });
    show(io, flags, result, `Did ${counted(result.done, "job")}; ${result.failed} failed.`);
  });
}

export function addFarmStatus(farm: Command, io: Io): void {
  const command = subcommand(farm, "status", {
    summary: "List the jobs on a farm's queue: who has them, and how far they are.",
    example: "skein farm status --queue redis://queue:6379",
  });
  withOptions(command, choiceFlags).action(async (flags: ChoiceFlags) => {
    const { jobStatus } = await import("../../fleet/jobs-on-queue.ts");
    const queue = await queueOf(flags, flags);
    const jobs = await jobStatus(queue, { farm: flags.farm }).finally(() => queue.close());
    show(io, flags, { queue: queue.place, jobs }, statusText(jobs));
  });
}

/** Cancelling and trying again. */
export function addFarmChanges(farm: Command, io: Io): void {
  addChange(farm, io, {
    name: "cancel",
    summary: "Cancel jobs of a farm, all or those named. A worker that has one ends it within a third of its lease.",
    done: "Cancelled",
    change: async (...given) => (await import("../../fleet/jobs-on-queue.ts")).cancelJobs(...given),
  });
  addChange(farm, io, {
    name: "retry",
    summary: "Put jobs that failed or were cancelled on the queue again, all or those named. They go on from their last state.",
    done: "On the queue again",
    change: async (...given) => (await import("../../fleet/jobs-on-queue.ts")).retryJobs(...given),
  });
}

interface Change {
  readonly name: string;
  readonly summary: string;
  readonly done: string;
  readonly change: typeof import("../../fleet/jobs-on-queue.ts").cancelJobs;
}

function addChange(farm: Command, io: Io, { name, summary, done, change }: Change): void {
  const example = `skein farm ${name} --queue redis://queue:6379 --farm my-pool mrpc`;
  const command = subcommand(farm, `${name} [jobs...]`, { summary, example });
  withOptions(command, choiceFlags.required({ farm: true })).action(async (jobs: string[], flags: ChoiceFlags) => {
    const queue = await queueOf(flags, flags);
    const names = await change(queue, { farm: flags.farm, jobs }).finally(() => queue.close());
    show(io, flags, { jobs: names }, names.length === 0 ? "There was nothing to do." : `${done}: ${names.join(", ")}.`);
  });
}

function statusText(jobs: readonly JobStatus[]): string {
  if (jobs.length === 0) return "The queue has no jobs.";
  const count = (state: JobStatus["state"]) => jobs.filter((job) => job.state === state).length;
  const states = (["running", "waiting", "done", "failed", "cancelled"] as const).filter((state) => count(state) > 0);
  const rows = jobs.map(({ farm, job, state, stage, step, steps, loss, secondsLeft, worker, deaths, problem }) => [
    farm,
    job,
    state === "running" ? (stage ?? state) : state,
    step === undefined ? "" : `${step}/${steps}`,
    loss === undefined ? "" : `loss ${loss.toFixed(4)}`,
    secondsLeft === undefined ? "" : `${duration(secondsLeft)} left`,
    worker ?? "",
    deaths === 0 ? "" : `${counted(deaths, "worker")} died`,
    problem?.what ?? "",
  ]);
  return [`${states.map((state) => `${count(state)} ${state}`).join(", ")}.`, table(rows)].join("\n");
}
