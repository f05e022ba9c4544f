/** @file The queue of a farm: what it says when its server is not there, and on a real Redis and PostgreSQL, how jobs go through it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cancelJobs, jobStatus, retryJobs } from "../jobs-on-queue.ts";
import { maskedAddress, maskedMessage } from "../masked.ts";
import { farmVersion, type PortableJob } from "../portable-job.ts";
import { openFolderStore } from "../store/folder-store.ts";
import type { Store } from "../store/store.ts";
import { runWorker } from "../worker.ts";
import { type FarmQueue, isAwayError, openQueue } from "./farm-queue.ts";

test.each([
  ["redis://user:hidden@host:6379/1", "redis://***@host:6379/1", ["hidden"]],
  ["postgres://user:hid%40den@host/db?password=other&sslmode=require", "postgres://***@host/db", ["hid@den", "hid%40den", "other"]],
  ["/shared/folder", "/shared/folder", []],
])("%s is shown without what is secret", (address, shown, secrets) => {
  expect(maskedAddress(address)).toBe(shown);
  const message = maskedMessage(`cannot reach ${address}: ${secrets.join(" ")}`, address);
  expect(message).toContain(`cannot reach ${shown}`);
  for (const secret of secrets) expect(message).not.toContain(secret);
});

test.each([
  ["redis://:hidden@127.0.0.1:1", "queue-unreachable"],
  ["postgres://somebody:hidden@127.0.0.1:1/db", "queue-unreachable"],
  ["amqp://somebody:hidden@127.0.0.1/", "option-invalid"],
  ["nonsense", "option-invalid"],
])("a server that is not there is one clear error: %s", async (address, code) => {
  const error = await openQueue(address).catch((problem: unknown) => problem);
  expect(error).toMatchObject({ code });
  expect(String(error)).not.toContain("hidden");
});

test("a label that could name another queue is refused", async () => {
  await expect(openQueue("redis://127.0.0.1:1", { labels: ["a:b"] })).rejects.toMatchObject({ code: "option-invalid" });
});

test("errors of a server that is away are told from others", () => {
  expect(isAwayError(Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" }))).toBe(true);
  expect(isAwayError(Object.assign(new Error("the database system is shutting down"), { code: "57P03" }))).toBe(true);
  expect(isAwayError(new Error("Missing lock for job a"))).toBe(false);
});

let folder: string;
let store: Store;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-queue-"));
  store = await openFolderStore(join(folder, "store"), { creates: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const FARM = `queue-test-${process.pid}`;
const job = (name: string, changes: Partial<PortableJob> = {}): PortableJob => ({
  version: farmVersion(),
  farm: FARM,
  name: `${FARM}-${name}`,
  key: Buffer.from(name.padEnd(32)).toString("hex"),
  kind: "expert",
  base: { name: "nowhere", fingerprint: "" },
  store: "another",
  job: "{}",
  label: FARM, // a queue of this test's own
  ...changes,
});
const problem = (what: string) => ({ name: "TrainingError", code: "job-died" as const, what, fix: "" });

describe.each([
  ["Redis", process.env.SKEIN_TEST_REDIS],
  ["PostgreSQL", process.env.SKEIN_TEST_POSTGRES],
])("on %s", (_, address = "") => {
  const on = test.skipIf(address === "");
  const why = address === "" ? " (skipped: no address of a server)" : "";
  const labels = [FARM];

  async function cleared(lease = 3): Promise<FarmQueue> {
    const queue = await openQueue(address, { labels, lease, worker: "one" });
    for (const seen of await queue.all()) if (seen.data.label === FARM) await queue.remove(seen);
    return queue;
  }
  const states = async (queue: FarmQueue) =>
    Object.fromEntries((await jobStatus(queue, { farm: FARM })).map(({ job: name, state }) => [name.slice(FARM.length + 1), state]));

  on(`a job is there once, is taken once, and is told about${why}`, async () => {
    const queue = await cleared();
    await queue.add(job("a"));
    await queue.add(job("a"));
    const taken = (await queue.take())!;
    expect(taken.data).toEqual(job("a"));
    await taken.report({ worker: "one", stage: "expert", step: 3, steps: 9, loss: 0.5 });
    const [status] = await jobStatus(queue, { farm: FARM });
    expect(status).toMatchObject({ state: "running", worker: "one", stage: "expert", step: 3, steps: 9, loss: 0.5, deaths: 0 });
    expect(await taken.keep()).toBe("kept");
    await taken.release();
    expect(await states(queue)).toEqual({ a: "waiting" });
    await (await queue.take())!.done();
    expect(await states(queue)).toEqual({ a: "done" });
    await queue.close();
  });

  on(`a job that failed is named with its problem, and can be tried again${why}`, async () => {
    const queue = await cleared();
    await queue.add(job("bad"));
    await (await queue.take())!.failed(problem("no such field"), { worker: "one" });
    expect((await jobStatus(queue, { farm: FARM }))[0]).toMatchObject({ state: "failed", problem: { what: "no such field" } });
    expect(await retryJobs(queue, { farm: FARM, jobs: [job("bad").name] })).toEqual([job("bad").name]);
    expect(await states(queue)).toEqual({ bad: "waiting" });
    await queue.close();
  });

  on(`cancelling ends what runs and what waits; retrying takes it up${why}`, async () => {
    const queue = await cleared();
    await queue.add(job("running"));
    const taken = (await queue.take())!;
    await queue.add(job("waiting"));
    expect((await cancelJobs(queue, { farm: FARM })).sort()).toEqual([job("running").name, job("waiting").name]);
    expect(await taken.keep()).toBe("cancelled");
    expect(await states(queue)).toEqual({ running: "cancelled", waiting: "cancelled" });
    await taken.failed(problem("cancelled"), {});
    await retryJobs(queue, { farm: FARM });
    expect(await states(queue)).toEqual({ running: "waiting", waiting: "waiting" });
    await expect(cancelJobs(queue, { farm: FARM, jobs: [`${job("waiting").name}x`] })).rejects.toThrow(/Nearest: .*waiting/);
    await queue.close();
  });

  on(`the job of a worker that died goes to another, and the first one has lost it${why}`, async () => {
    const queue = await cleared();
    await queue.add(job("lost"));
    const first = (await queue.take())!;
    let second: Awaited<ReturnType<FarmQueue["take"]>>;
    while (!second) {
      await sleep(100);
      second = await queue.take();
    }
    expect(await first.keep()).toBe("lost");
    expect(await second.keep()).toBe("kept");
    expect((await jobStatus(queue, { farm: FARM }))[0]).toMatchObject({ deaths: 1 });
    await second.done();
    await queue.close();
  });

  on(`a worker without the label does not get the job${why}`, async () => {
    const queue = await cleared();
    await queue.add(job("labelled"));
    const other = await openQueue(address, { labels: [`${FARM}-other`], worker: "two" });
    expect((await other.take())?.data.farm).not.toBe(FARM);
    await other.close();
    await queue.close();
  });

  on(`a worker of another version, or with another store, is refused by name and leaves the job to others${why}`, async () => {
    const queue = await cleared();
    await queue.add(job("newer", { version: "99.0.0 (jobs 7)" }));
    const options = {
      queue,
      store,
      program: { file: "", args: [] },
      worker: "host-7",
      lease: 30,
      saveEvery: 10,
      work: join(folder, "work"),
    };
    await expect(runWorker(options)).rejects.toThrow(
      /The worker host-7 has Skein [\d.]+ \(jobs \d+\), and the farm ".*" was started with 99\.0\.0/,
    );
    expect(await states(queue)).toEqual({ newer: "waiting" });
    await queue.remove((await queue.look(job("newer")))!);
    await queue.add(job("elsewhere"));
    await expect(runWorker(options)).rejects.toMatchObject({ code: "worker-store-differs" });
    expect(await states(queue)).toEqual({ elsewhere: "waiting" });
    await queue.close();
  });
});
