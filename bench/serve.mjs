/** @file A bounded load on a server on loopback: throughput, time to the first token, time per token, at several numbers of streams.
 *
 *      node bench/serve.mjs --shape q [--folder DIR] [--experts 8,166] [--precision int8]     random weights, written into a folder first
 *      node bench/serve.mjs --base DIR [--pool DIR] [--precision int8]
 *      node bench/serve.mjs --url URL                                                          a server that runs already
 *
 *      --parts load,overhead,long   what to measure (default: load)
 *      --models a,b+c   --streams 1,8,32,128   --seconds 10   --tokens 64   --prompt 32   --out FILE.json
 *
 *  load       Each stream sends its next request when the last one has ended. A name with + is a mix: streams take turns among its models.
 *             Without --models: the base, the first expert, the pool, and a mix of all three.
 *  overhead   one stream of the server, and model.generate in this process, in turns, and processor time outside the engine
 *  long       8 streams: the time between their tokens while nothing else runs, and while prompts of 2,000 tokens are read
 *
 *  --shape writes 1.5 GB for q, and 36 MB for each of four adapters; an absent --folder is a temporary one. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildIfStale } from "../scripts/build.mjs";
import { between, load, servedModels, standardModels, started } from "./serve-load.mjs";

const { values: options } = parseArgs({
  options: {
    shape: { type: "string" },
    folder: { type: "string" },
    experts: { type: "string", default: "8" },
    base: { type: "string" },
    pool: { type: "string" },
    precision: { type: "string", default: "float32" },
    url: { type: "string" },
    parts: { type: "string", default: "load" },
    models: { type: "string" },
    streams: { type: "string", default: "1,8,32,128" },
    seconds: { type: "string", default: "10" },
    tokens: { type: "string", default: "64" },
    prompt: { type: "string", default: "32" },
    out: { type: "string" },
  },
});
const [seconds, tokens, promptLength] = [options.seconds, options.tokens, options.prompt].map(Number);
const LONG = 2000;
const LONG_STREAMS = 8;
const ROUNDS = 5;

const results = [];
const report = (result) => {
  results.push(result);
  console.log(
    Object.entries(result)
      .map(([key, value]) => `${key} ${value}`)
      .join("  "),
  );
};

if (options.url) await measured(options.url, {});
else for (const setting of await settings()) await withServer(setting);
if (options.out) writeFileSync(options.out, `${JSON.stringify(results, null, 2)}\n`);

/** The bases and pools to serve, one after the other. */
async function settings() {
  if (!(await buildIfStale())) process.exit(1);
  const { shape, folder, base, pool } = options;
  if (!shape) return [{ base, pool }];
  const { writeServed } = await import("./served-shape.mjs");
  const place = folder ?? mkdtempSync(join(tmpdir(), "skein-serve-"));
  if (folder) mkdirSync(folder, { recursive: true });
  else process.on("exit", () => rmSync(place, { recursive: true, force: true }));
  const counts = options.experts.split(",").map(Number);
  const served = await writeServed(place, shape, counts);
  return counts.map((count) => ({ base: served.base, pool: served.pools[count] }));
}

async function withServer({ base, pool }) {
  const server = await started({ base, pool, precision: options.precision });
  try {
    await measured(server.url, { base, pool, pid: server.child.pid });
  } finally {
    server.child.kill("SIGTERM");
    await server.ended;
  }
}

async function measured(url, setting) {
  const names = options.models?.split(",") ?? standardModels(await servedModels(url));
  const ask = { url, tokens, promptLength };
  for (const part of options.parts.split(",")) {
    for (const name of part === "load" ? names : []) {
      await load({ ...ask, name, streams: 1, seconds: 1 }); // graphs are built
      for (const streams of options.streams.split(",").map(Number)) report(await load({ ...ask, name, streams, seconds }));
    }
    if (part === "overhead") report(await overhead(ask, names[0], setting));
    for (const name of part === "long" ? names : []) report(await beside(ask, name));
  }
}

/** Milliseconds per token of one stream, and of model.generate; and the processor time per token of the HTTP process and of this client, which
 *  the engine's threads wait for where all cores compute. */
async function overhead(ask, name, { base, pid }) {
  const { loadModel } = await import("../dist/library/model.js");
  const model = await loadModel(base, { precision: options.precision });
  const prompt = Array.from({ length: promptLength }, (_, i) => 10 + ((i * 31) % 90));
  const direct = async () => {
    const start = performance.now();
    let count = 0;
    const asked = { maxNewTokens: tokens, temperature: 0, ignoreEos: true, logprobs: 0 };
    for await (const event of model.generate(prompt, asked)) if (event.kind === "token") count++;
    return (performance.now() - start) / count;
  };
  const served = async () => {
    const start = performance.now();
    const [http, client] = [processorMs(pid), process.cpuUsage()];
    const { count } = await between({ ...ask, model: name, prompt });
    const { user, system } = process.cpuUsage(client);
    processor.http += processorMs(pid) - http;
    processor.client += (user + system) / 1000;
    processor.tokens += count;
    return (performance.now() - start) / count;
  };
  const times = { direct: [], served: [] };
  const processor = { http: 0, client: 0, tokens: 0 };
  for (let round = 0; round <= ROUNDS; round++) {
    const order = round % 2 === 0 ? ["direct", "served"] : ["served", "direct"];
    for (const way of order) {
      const time = await (way === "direct" ? direct() : served());
      if (round > 0) times[way].push(time); // the first one builds graphs
    }
  }
  await model.dispose();
  const [a, b] = [median(times.direct), median(times.served)];
  const each = (ms) => (ms / processor.tokens).toFixed(2);
  return {
    part: "overhead",
    model: name,
    "generate ms/token": a.toFixed(2),
    "server ms/token": b.toFixed(2),
    ratio: (b / a).toFixed(3),
    "HTTP process, processor ms/token": each(processor.http),
    "client, processor ms/token": each(processor.client),
  };
}

/** Processor time of a process so far, where /proc tells it (Linux, in steps of 10 ms). */
function processorMs(pid) {
  const stat = process.platform === "linux" ? readFileSync(`/proc/${pid}/stat`, "utf8") : "";
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
    .map(Number); // fields 14 and 15
  return 10 * (user + system);
}

/** The time between tokens of some streams, quiet and while long prompts are read. */
async function beside(ask, name) {
  const window = { ...ask, name, streams: LONG_STREAMS, seconds };
  await load({ ...window, streams: 1, seconds: 1 });
  const quiet = await load(window);
  let isOver = false;
  let read = 0;
  const reading = (async () => {
    const models = name.split("+");
    for (let i = 0; !isOver; i++) {
      const prompt = Array.from({ length: LONG }, (_, at) => 100 + ((i * 7919 + at * 31) % 400));
      await between({ ...ask, model: models[i % models.length], prompt, tokens: 1 });
      if (!isOver) read++;
    }
  })();
  const loaded = await load(window);
  isOver = true;
  await reading;
  const ratio = (loaded["token p95"] / quiet["token p95"]).toFixed(2);
  return { part: "long", model: name, "quiet p95": quiet["token p95"], "beside p95": loaded["token p95"], ratio, "prompts read": read };
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
