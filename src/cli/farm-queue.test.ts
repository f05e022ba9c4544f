/** @file Farms on several machines, on a real Redis and a real PostgreSQL: two workers, one killed in each stage of a job, the server stopped
 *  and started in between. The pool has the same bytes as one made here without any of that.
 *
 *      SKEIN_TEST_REDIS, SKEIN_TEST_POSTGRES    the addresses; a test without its server is skipped
 *      SKEIN_TEST_SERVERS                       a program: <it> stop|start redis|postgres */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type FakeS3, fakeS3 } from "../../tests/fake-s3.ts";
import { type FarmQueue, openQueue } from "../fleet/queue/farm-queue.ts";
import { filesBelow } from "../fleet/store/trees.ts";
import { fileHash } from "../storage/files.ts";
import { skein } from "./captured-io.test-helper.ts";
import { EXPERTS, type FarmFolder, FLAN, farmFolder, HEAD } from "./farm.test-helper.ts";

const BIN = fileURLToPath(new URL("../../bin/skein.js", import.meta.url));
const called = promisify(execFile);
const { SKEIN_TEST_SERVERS: servers } = process.env;
const LEASE = "1.5"; // s

/** Long enough that each stage can be met, short enough for a test. */
const RECIPE = `${HEAD.replace("steps: 6", "steps: 60").replace("steps: 4", "steps: 60").replaceAll("saveEvery: 1", "saveEvery: 5").replace("examples: 3", "examples: 300")}${EXPERTS.replace("files: [up.jsonl]", "files: [many.jsonl]")}    training: { steps: 15 }
    gates: false
    statistics: false
${FLAN("task-9")}evaluation: { tasks: [up.jsonl], heldOut: [down.jsonl], methods: [uniform] }
`;

let farm: FarmFolder;
let local: Map<string, string>;

beforeAll(async () => {
  farm = await farmFolder();
  const path = await farm.recipe("pool.yaml", RECIPE);
  const rows = Array.from({ length: 300 }, (_, i) => ({ input: ["red", "green", "blue"][i % 3], target: ["one", "two", "three"][i % 3] }));
  await writeFile(farm.at("many.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  if (!process.env.SKEIN_TEST_REDIS && !process.env.SKEIN_TEST_POSTGRES) return;
  const { code, err } = await skein("farm", "run", path, "--out", farm.at("local"), "--json");
  expect({ code, failed: /flan: No row has _task_name task-9/.test(err) }).toEqual({ code: 1, failed: true });
  local = await hashes(farm.at("local"));
}, 240_000);
afterAll(() => farm[Symbol.asyncDispose]());

describe.each([
  ["redis", process.env.SKEIN_TEST_REDIS],
  ["postgres", process.env.SKEIN_TEST_POSTGRES],
])("on %s", (kind, address = "") => {
  test.skipIf(address === "")(
    `two workers, killed in each stage, make the pool that one machine makes${address === "" ? " (skipped: no address of a server)" : ""}`,
    { concurrent: true, timeout: 240_000 },
    async () => {
      const store = farm.at(`store-${kind}`);
      const run = skein("farm", "run", farm.at("pool.yaml"), "--out", farm.at(kind), "--queue", address, "--store", store, "--json");
      const queue = await openQueue(address);
      const workers = new Set([startWorker(address, store), startWorker(address, store)]);
      let isOver = false;
      void run.finally(() => {
        isOver = true;
      });
      try {
        for (const stage of ["expert", "gates", "statistics", "evaluation: uniform"]) {
          await killIn(stage, queue, workers, () => isOver);
          workers.add(startWorker(address, store));
          if (stage === "gates" && servers !== undefined) {
            await called(servers, ["stop", kind]);
            await sleep(500);
            await called(servers, ["start", kind]);
          }
        }
        const { code, err } = await run;
        expect(err).toMatch(/1 of 3 experts failed\. flan: No row has _task_name task-9/);
        expect(code).toBe(1);
        expect(await hashes(farm.at(kind))).toEqual(local);
        const said = [...workers].map((worker) => worker.said()).join("");
        expect(said).toContain("it goes on from what another worker saved");
      } finally {
        for (const worker of workers) worker.process.kill("SIGTERM");
        await queue.close();
      }
    },
  );
});

const { SKEIN_TEST_REDIS: redis = "" } = process.env;
test.skipIf(redis === "")(
  `a worker without flags keeps its jobs for 30 seconds and saves their states every minute${redis === "" ? " (skipped: no address of a server)" : ""}`,
  { timeout: 60_000 },
  async () => {
    const { stderr } = await called(process.execPath, [
      ...[BIN, "farm", "worker", "--queue", redis, "--store", farm.at("."), "--idle", "0", "--json"],
    ]);
    expect(JSON.parse(stderr.split("\n")[0]!)).toMatchObject({ worker: { state: "ready", lease: 30, stateEvery: 60 } });
  },
);

describe("a worker whose clock is an hour ahead", () => {
  const shift =
    "const D=Date,by=36e5;globalThis.Date=class extends D{constructor(...a){a.length?super(...a):super(D.now()+by)}static now(){return D.now()+by}}";
  const ahead = `data:text/javascript,${encodeURIComponent(shift)}`;
  const worker = (address: string) =>
    called(process.execPath, ["--import", ahead, BIN, "farm", "worker", "--queue", address, "--store", "s3://bucket/clock", "--idle", "0"]);
  let s3: FakeS3;
  beforeAll(async () => {
    s3 = await fakeS3(farm.at("s3"), "bucket");
    for (const [name, value] of Object.entries({
      AWS_ENDPOINT_URL_S3: s3.endpoint,
      AWS_ACCESS_KEY_ID: "S3RVER",
      AWS_SECRET_ACCESS_KEY: "S3RVER",
    }))
      vi.stubEnv(name, value);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await s3[Symbol.asyncDispose]();
  });

  test.skipIf(!process.env.SKEIN_TEST_REDIS)("works on Redis and S3, whose own clocks count (needs SKEIN_TEST_REDIS)", async () => {
    expect((await worker(process.env.SKEIN_TEST_REDIS!)).stdout).toContain("Did 0 jobs");
  });

  test.skipIf(!process.env.SKEIN_TEST_POSTGRES)(
    "is refused on PostgreSQL, where it would take the jobs of others (needs SKEIN_TEST_POSTGRES)",
    async () => {
      await expect(worker(process.env.SKEIN_TEST_POSTGRES!)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/clock is 3[56]\d\d s ahead/),
      });
    },
  );
});

/** The files of a pool, by what is in them; the report has times. */
async function hashes(pool: string): Promise<Map<string, string>> {
  const files = await filesBelow(pool, (path) => path !== "report.html" && !path.startsWith("evaluation/"));
  return new Map(await Promise.all([...files].map(async ([name, path]): Promise<[string, string]> => [name, await fileHash(path)])));
}

interface TestWorker {
  readonly process: ChildProcess;
  said(): string;
}

function startWorker(address: string, store: string): TestWorker {
  const flags = ["--lease", LEASE, "--state-every", "0.2", "--work", farm.at("work"), "--json"];
  const child = spawn(process.execPath, [BIN, "farm", "worker", "--queue", address, "--store", store, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr!.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  return { process: child, said: () => text };
}

/** Waits until a worker says that it is in this stage of a job, and kills it. */
async function killIn(stage: string, queue: FarmQueue, workers: Set<TestWorker>, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const running = (await queue.all().catch(() => [])).filter(({ state, report }) => state === "running" && report.stage === stage);
    for (const { report } of running) {
      const worker = [...workers].find(({ process: { pid, killed } }) => !killed && report.worker?.includes(`-${pid}-`));
      if (worker) {
        worker.process.kill("SIGKILL");
        return;
      }
    }
    await sleep(15);
  }
  throw new Error(`nobody was seen in the stage ${stage}`);
}
