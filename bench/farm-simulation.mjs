/** @file How a farm of many experts scales from 1 to 64 machines, by simulation from measured numbers.
 *
 *      node bench/farm-simulation.mjs POOL.farm [POOL.farm ...] [--experts 166] [--scale 1] [--deaths 0]
 *      node bench/farm-simulation.mjs --seconds 600 --evaluation 60
 *
 *  Job times are those of real farms: each simulated expert and evaluation takes the time of a measured one, chosen by the seed, times
 *  `--scale`. Without a farm, every expert and every evaluation takes what the second form says. SKEIN_QUEUE and SKEIN_STORE name a real queue and store, whose costs are measured first. `--deaths` is how often an hour a
 *  machine dies; it comes back after five minutes.
 *
 *  The model: a machine asks for a job (half a poll and a take), fetches its inputs, computes, saves its state as it goes, publishes. The
 *  store serves one transfer after another. Evaluation begins when the last expert is done and the pool is assembled. */

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../dist/base/random.js";
import { openRemote } from "../dist/fleet/remote.js";
import { getTree, putTree } from "../dist/fleet/store/trees.js";

const MACHINES = [1, 2, 4, 8, 16, 32, 64];
const MIB = 2 ** 20;
const EXPERT_BYTES = 10 * MIB; // adapter and gates of the paper's experts
const STATE_BYTES = 4 * EXPERT_BYTES; // parameters, two moments, the best so far
const POLL = 0.5; // s between questions to a queue without jobs
const SAVE_EVERY = 60; // s, the default of a worker
const LEASE = 30; // s until a dead machine's job goes to another, once and a half
const BACK = 300; // s until a machine that died is there again
const EVALUATIONS = 60; // methods x tasks

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    experts: { type: "string", default: "166" },
    scale: { type: "string", default: "1" },
    deaths: { type: "string", default: "0" },
    seed: { type: "string", default: "1" },
    seconds: { type: "string" },
    evaluation: { type: "string", default: "60" },
  },
});
const [experts, scale, deaths, seed] = ["experts", "scale", "deaths", "seed"].map((name) => Number(values[name]));
if (positionals.length === 0 && !values.seconds) throw new Error("Name the folder that a farm left, POOL.farm, or give --seconds.");
const measured = values.seconds
  ? { expert: [Number(values.seconds)], evaluation: [Number(values.evaluation)] }
  : await jobTimes(positionals);
const costs = await measuredCosts();
console.log(
  `${measured.expert.length} times of experts, median ${median(measured.expert).toFixed(1)} s; ${measured.evaluation.length} evaluations, ${median(measured.evaluation).toFixed(1)} s; times ${scale}.`,
);
console.log(
  `Queue: ${(1000 * costs.queue).toFixed(1)} ms a job. Store: ${(costs.bandwidth / MIB).toFixed(0)} MiB/s, ${(1000 * costs.latency).toFixed(1)} ms a file.`,
);
const rows = MACHINES.map((machines) => ({ machines, ...simulated(machines) }));
console.log("\n| machines | time | speed-up | of the ideal | store busy | work lost |\n|---:|---:|---:|---:|---:|---:|");
for (const { machines, seconds, busy, lost } of rows) {
  const speed = rows[0].seconds / seconds;
  const share = (part) => `${(100 * part).toFixed(1)} %`;
  console.log(
    `| ${machines} | ${duration(seconds)} | ${speed.toFixed(1)} | ${share(speed / machines)} | ${share(busy / seconds)} | ${share(lost / (seconds * machines))} |`,
  );
}

/** Seconds of every job that these farms did. */
async function jobTimes(folders) {
  const times = { expert: [], evaluation: [] };
  for (const folder of folders) {
    for (const name of await readdir(join(folder, "jobs"))) {
      const read = async (file) => JSON.parse(await readFile(join(folder, "jobs", name, file), "utf8"));
      const { kind, out } = await read("job.json");
      const done = await read("done.json").catch(() => undefined); // it failed
      if (done && times[kind] && out === undefined) times[kind].push(done.seconds);
    }
  }
  return times;
}

/** What the real queue and store cost; without them, of a network of one gigabit. */
async function measuredCosts() {
  const { SKEIN_QUEUE: queue, SKEIN_STORE: store } = process.env;
  if (!queue || !store) return { queue: 0.005, bandwidth: 100 * MIB, latency: 0.005 };
  const label = `bench-${process.pid}`;
  const remote = await openRemote({ queue, store }, { creates: true, worker: label, labels: [label] });
  const folder = await mkdtemp(join(tmpdir(), "skein-bench-"));
  try {
    return { queue: await queueCost(remote.queue, label), ...(await storeCost(remote.store, folder)) };
  } finally {
    await remote.queue.close();
    remote.store.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function queueCost(queue, label) {
  const count = 100;
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const base = { name: "", fingerprint: "" };
    await queue.add({
      version: "",
      farm: label,
      name: `job-${i}`,
      key: String(i).padStart(64, "0"),
      kind: "expert",
      base,
      store: "",
      job: "{}",
      label,
    });
    const taken = await queue.take();
    await taken.report({ worker: label, stage: "expert" });
    await taken.keep();
    await taken.done();
  }
  const each = (performance.now() - start) / 1000 / count;
  for (const job of await queue.all()) if (job.data.label === label) await queue.remove(job);
  return each;
}

async function storeCost(store, folder) {
  const timed = async (name, bytes) => {
    const path = join(folder, name);
    await writeFile(path, Buffer.alloc(bytes, Math.random().toString()));
    const start = performance.now();
    const tree = await putTree(store, new Map([[name, path]]));
    await getTree(store, tree, join(folder, `${name}-back`));
    return (performance.now() - start) / 2000;
  };
  await timed("warm", 1);
  const latency = median(await Promise.all([1, 2, 3].map((i) => timed(`small-${i}`, i))));
  const large = median([await timed("a", EXPERT_BYTES), await timed("b", EXPERT_BYTES), await timed("c", EXPERT_BYTES)]);
  return { latency, bandwidth: EXPERT_BYTES / Math.max(1e-6, large - latency) };
}

/** Seconds of the whole farm, seconds that the store was busy, and machine seconds that deaths cost. */
function simulated(count) {
  const random = seededRandom(seed);
  const chosen = (times, n) => Array.from({ length: n }, () => scale * times[random.integer(times.length)]);
  const world = { now: 0, free: 0, busy: 0, lost: 0, random };
  const machines = Array.from({ length: count }, () => ({ dies: deathAfter(0, random), hasPool: false }));
  phase(world, machines, chosen(measured.expert, experts), { input: MIB, output: EXPERT_BYTES, state: STATE_BYTES });
  world.now = transfer(world, 2 * experts * EXPERT_BYTES); // the farm fetches the experts and puts the pool
  phase(world, machines, chosen(measured.evaluation, EVALUATIONS), { input: experts * EXPERT_BYTES, output: MIB, state: 0 });
  return { seconds: world.now, busy: world.busy, lost: world.lost };
}

/** Lets the machines do these jobs, event by event. A job whose machine dies goes back, less what its last state has. */
function phase(world, machines, jobs, sizes) {
  const waiting = [...jobs];
  let open = jobs.length;
  const events = [];
  const at = (time, happen) => events.push({ time, happen });
  const idle = [];
  const free = (machine) => {
    if (waiting.length === 0) return idle.push(machine);
    const seconds = waiting.shift();
    at(world.now + POLL / 2 + costs.queue, () => fetch(machine, seconds));
  };
  const fetch = (machine, seconds) => {
    const isPool = sizes.state === 0; // fetched once a machine
    const starts = isPool && machine.hasPool ? world.now : transfer(world, sizes.input);
    machine.hasPool ||= isPool;
    if (machine.dies < starts + seconds) return at(Math.max(machine.dies, starts), () => die(machine, seconds, starts));
    for (let saved = SAVE_EVERY; saved < seconds; saved += SAVE_EVERY) at(starts + saved, () => transfer(world, sizes.state));
    at(starts + seconds, () => at(transfer(world, sizes.output), () => done(machine)));
  };
  const done = (machine) => {
    open--;
    free(machine);
  };
  const die = (machine, seconds, starts) => {
    const worked = world.now - starts;
    const kept = sizes.state > 0 ? Math.floor(worked / SAVE_EVERY) * SAVE_EVERY : 0;
    world.lost += worked - kept + BACK;
    at(world.now + 1.5 * LEASE, () => {
      waiting.push(seconds - kept);
      if (idle.length > 0) free(idle.pop());
    });
    Object.assign(machine, { dies: deathAfter(world.now + BACK, world.random), hasPool: false });
    at(world.now + BACK, () => free(machine));
  };
  for (const machine of machines) free(machine);
  while (open > 0) {
    const next = events.reduce((best, event, i) => (event.time < events[best].time ? i : best), 0);
    const [{ time, happen }] = events.splice(next, 1);
    world.now = time;
    happen();
  }
}

/** When a transfer that is asked for now is over: the store serves one after another. */
function transfer(world, bytes) {
  const takes = costs.latency + bytes / costs.bandwidth;
  world.free = Math.max(world.free, world.now) + takes;
  world.busy += takes;
  return world.free;
}

function deathAfter(now, random) {
  return deaths === 0 ? Number.POSITIVE_INFINITY : now - (Math.log(1 - random.next()) * 3600) / deaths;
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function duration(seconds) {
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
