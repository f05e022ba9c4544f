/** @file The flags of farms on several machines, and what they open. Addresses can hold passwords: SKEIN_QUEUE and SKEIN_STORE keep them out
 *  of the list of processes. */

import { fileURLToPath } from "node:url";
import * as z from "zod";
import { OptionError } from "../base/errors.ts";
import type { JobProgram } from "../fleet/job-process.ts";
import type { QueueOptions } from "../fleet/queue/farm-queue.ts";
import type { deviceOption } from "../runtime/device.ts";

/** This very program, asked for one job, which computes on this device.
 *  @throws EngineError where the machine does not have the device. */
export async function programOn(device: z.infer<typeof deviceOption>): Promise<JobProgram> {
  const program = { file: fileURLToPath(new URL("../../bin/skein.js", import.meta.url)), args: ["farm", "job"] };
  if (device === undefined) return program;
  const { jobDevice } = await import("../fleet/job-device.ts");
  return { ...program, device: await jobDevice(device) };
}

export const queueFlag = z
  .string()
  .optional()
  .meta({ description: "The queue of jobs: redis://... or postgres://....", value: "url", unset: "the variable SKEIN_QUEUE" });
const store = z.string().optional().meta({
  description: "Where machines share results: a folder, or s3://bucket/prefix.",
  value: "place",
  unset: "the variable SKEIN_STORE",
});
export const labelsFlag = z.array(z.string()).optional();

export const remoteFlags = { queue: queueFlag, store };
export interface RemoteFlags {
  readonly queue?: string | undefined;
  readonly store?: string | undefined;
}

/** The queue and the store that flags or the environment name; undefined where neither names a queue. */
export async function remoteOf(flags: RemoteFlags, options: QueueOptions & { readonly creates?: boolean }) {
  const { queue = process.env.SKEIN_QUEUE, store: place = process.env.SKEIN_STORE } = flags;
  if (queue === undefined) return undefined;
  if (place === undefined) throw missing("store", "Name what all machines share: --store FOLDER or --store s3://bucket/prefix.");
  const { openRemote } = await import("../fleet/remote.ts");
  return openRemote({ queue, store: place }, options);
}

/** The queue of a command that only looks at it. */
export async function queueOf({ queue = process.env.SKEIN_QUEUE }: RemoteFlags, options: QueueOptions) {
  if (queue === undefined) throw noQueue();
  const { openQueue } = await import("../fleet/queue/farm-queue.ts");
  return openQueue(queue, options);
}

export function noQueue(): OptionError {
  return missing("queue", "Name the queue: --queue redis://host:6379 or --queue postgres://host/database.");
}

function missing(option: string, fix: string): OptionError {
  return new OptionError({ code: "option-invalid", data: { option }, what: `There is no ${option}.`, where: option, fix });
}
