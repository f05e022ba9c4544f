/** @file A long mixed load on a server: 5 % of the requests are cancelled, 5 % malformed, an adapter comes and goes all the while. Says
 *  whether memory stays flat, and whether any request was lost or answered with another's answer.
 *
 *      node bench/soak.mjs --base DIR --pool DIR --adapter-root DIR --adapter NAME [--minutes 10] [--streams 16]
 *      node bench/soak.mjs --shape tiny --folder DIR
 *
 *  --shape writes random weights into the folder (served-shape.mjs). Every other time the adapter joins the pool too, so it needs gates.
 *
 *  Answers are greedy, and compared with those that each request got alone. On random weights rounding may tip a tie, so `different` counts
 *  differences, and says how many were like another request's answer. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    shape: { type: "string" },
    folder: { type: "string" },
    base: { type: "string" },
    pool: { type: "string" },
    "adapter-root": { type: "string" },
    adapter: { type: "string" },
    minutes: { type: "string", default: "10" },
    streams: { type: "string", default: "16" },
  },
});
if (options.shape) {
  const { writeServed } = await import("./served-shape.mjs");
  const { base, pools } = await writeServed(options.folder, options.shape, [4]);
  const experts = `${pools[4]}/experts`;
  Object.assign(options, { base, pool: pools[4], "adapter-root": experts, adapter: "expert-1" });
}
const bin = fileURLToPath(new URL("../bin/skein.js", import.meta.url));
const flags = ["--port", "0", "--json", "--allow-runtime-updates", "--adapter-root", options["adapter-root"]];
const child = spawn(process.execPath, [bin, "serve", "--base", options.base, "--pool", options.pool, ...flags], {
  stdio: ["ignore", "pipe", "ignore"],
});
const line = await new Promise((resolve) => child.stdout.once("data", (data) => resolve(String(data))));
const { url, models } = JSON.parse(line);

const post = (path, body, signal) =>
  fetch(url + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });
const requests = Array.from({ length: 24 }, (_, i) => ({
  model: models[i % models.length],
  prompt: Array.from({ length: 1 + ((i * 7) % 40) }, (_, at) => `w${(i * 37 + at * 11) % 300}`).join(" "),
  max_tokens: 8 + ((i * 5) % 40),
  temperature: 0,
  ignore_eos: true,
}));
const expected = [];
for (const request of requests) expected.push((await (await post("/v1/completions", request)).json()).choices[0].text);

// Time in which the processes were stopped does not count.
let left = Number(options.minutes) * 60_000;
let last = Date.now();
const clock = setInterval(() => {
  const now = Date.now();
  left -= Math.min(now - last, 1000);
  last = now;
}, 200);
const count = { answered: 0, different: 0, mixed: 0, cancelled: 0, malformed: 0, lost: 0, changes: 0 };
const memory = [];
/** How often each kind of request was lost: its status, or the error of the connection. */
const losses = {};

function lost(why) {
  count.lost++;
  losses[why] = (losses[why] ?? 0) + 1;
}

async function stream(number) {
  for (let turn = 0; left > 0; turn++) {
    const i = (number * 5 + turn * 7) % requests.length;
    const chance = Math.random();
    if (chance < 0.05) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), Math.random() * 200);
      await post("/v1/completions", { ...requests[i], max_tokens: 200, stream: true }, controller.signal)
        .then((answer) => answer.text())
        .catch(() => {});
      count.cancelled++;
    } else if (chance < 0.1) {
      const { status } = await post("/v1/completions", { ...requests[i], max_tokens: "many" });
      if (status === 400) count.malformed++;
      else lost(`malformed ${status}`);
    } else {
      const answer = await post("/v1/completions", requests[i]).catch((error) => ({ status: error.cause?.code ?? error.message }));
      if (answer.status !== 200) {
        lost(`completion ${answer.status}`);
        continue;
      }
      const { choices } = await answer.json();
      count.answered++;
      if (choices[0].text === expected[i]) continue;
      count.different++;
      if (expected.includes(choices[0].text)) count.mixed++;
    }
  }
}

async function changing() {
  for (let turn = 0; left > 0; turn++) {
    const adapter = { lora_name: "soak", lora_path: options.adapter, join_pool: turn % 2 === 1 };
    const loaded = await post("/v1/load_lora_adapter", adapter);
    const used = await post("/v1/completions", { model: "soak", prompt: "a", max_tokens: 2 });
    const unloaded = await post("/v1/unload_lora_adapter", { lora_name: "soak" });
    for (const { status } of [loaded, used, unloaded]) if (status !== 200) lost(`change ${status}`);
    count.changes++;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function watching() {
  while (left > 0) {
    const text = await fetch(`${url}/metrics`).then(
      (answer) => answer.text(),
      () => "",
    );
    if (text === "") {
      lost("metrics");
      continue;
    }
    const value = (name) => Number(new RegExp(`^skein_${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0) / 2 ** 20;
    memory.push({
      server: value("process_resident_memory_bytes"),
      engine: value("engine_resident_bytes"),
      heap: value("nodejs_heap_size_used_bytes"),
    });
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

await Promise.all([...Array.from({ length: Number(options.streams) }, (_, number) => stream(number)), changing(), watching()]);
clearInterval(clock);
child.kill("SIGTERM");
const size = Math.max(1, Math.floor(memory.length / 5));
const fifths = [0, 1, 2, 3, 4].map((i) => memory.slice(i * size, (i + 1) * size));
const mean = (part, key) => (part.reduce((sum, one) => sum + one[key], 0) / part.length).toFixed(0);
for (const key of ["server", "engine"])
  console.log(`${key}, MiB, by fifths of the time: ${fifths.map((part) => mean(part, key)).join(", ")}`);
// What V8 keeps after a collection, the least of many looks, grows with what leaks; resident memory also with what it has not collected yet.
console.log(
  `server's heap at its least, MiB, by fifths: ${fifths.map((part) => Math.min(...part.map(({ heap }) => heap)).toFixed(1)).join(", ")}`,
);
console.log(JSON.stringify({ ...count, losses }));
