/** @file A bounded load on a server on loopback: throughput, time to the first token, time per token, at several numbers of streams.
 *
 *      node bench/serve.mjs --base DIR [--pool DIR] [--precision int8] [--models a,b+c] [--streams 1,8,32,128] [--seconds 10] [--tokens 64]
 *                           [--prompt 32] [--url URL] [--out FILE.json]
 *
 *  Each stream sends its next request when the last one has ended. A name with + is a mix: streams take turns among its models. Without
 *  --models: the base, the first expert, the pool, and a mix of all three. With --url the server is one that runs already. */

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    base: { type: "string" },
    pool: { type: "string" },
    precision: { type: "string", default: "float32" },
    models: { type: "string" },
    streams: { type: "string", default: "1,8,32,128" },
    seconds: { type: "string", default: "10" },
    tokens: { type: "string", default: "64" },
    prompt: { type: "string", default: "32" },
    url: { type: "string" },
    out: { type: "string" },
  },
});
const [seconds, tokens, promptLength] = [options.seconds, options.tokens, options.prompt].map(Number);
const MOST_STREAMS = 256;

const server = options.url ? undefined : await started();
const url = options.url ?? server.url;
const results = [];
try {
  const { data } = await (await fetch(`${url}/v1/models`)).json();
  const names = options.models?.split(",") ?? standard(data);
  for (const name of names) {
    await load(name, 1, 1); // graphs are built
    for (const streams of options.streams.split(",").map(Number)) {
      const result = await load(name, Math.min(streams, MOST_STREAMS), seconds);
      results.push(result);
      console.log(
        Object.entries(result)
          .map(([key, value]) => `${key} ${value}`)
          .join("  "),
      );
    }
  }
} finally {
  server?.child.kill("SIGTERM");
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(results, null, 2)}\n`);

function standard(data) {
  const of = (kind) => data.find((model) => model.skein.kind === kind)?.id;
  const found = ["base", "expert", "pool"].map(of).filter((name) => name !== undefined);
  return found.length > 1 ? [...found, found.join("+")] : found;
}

/** The server of this checkout on a free port. */
async function started() {
  const bin = fileURLToPath(new URL("../bin/skein.js", import.meta.url));
  const args = ["serve", "--json", "--port", "0", "--parallel", "128", "--base", options.base, "--precision", options.precision];
  const child = spawn(process.execPath, [bin, ...args, ...(options.pool ? ["--pool", options.pool] : [])], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const line = await new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      if (text.includes("\n")) resolve(text);
    });
    child.on("exit", (code) => reject(new Error(`the server ended with code ${code}`)));
  });
  return { child, url: JSON.parse(line).url };
}

/** So many streams for so many seconds. */
async function load(name, streams, seconds) {
  const models = name.split("+");
  const end = performance.now() + seconds * 1000;
  const [firsts, betweens] = [[], []];
  let [count, errors] = [0, 0];
  const start = performance.now();
  const stream = async (number) => {
    for (let turn = 0; performance.now() < end; turn++) {
      try {
        const tokens = await request(models[(number + turn) % models.length], number * 1000 + turn, firsts, betweens);
        count += tokens; // read after the wait, as other streams count too
      } catch {
        errors++;
      }
    }
  };
  await Promise.all(Array.from({ length: streams }, (_, number) => stream(number)));
  const took = (performance.now() - start) / 1000;
  const ms = (values, share) => percentile(values, share).toFixed(1);
  return {
    model: name,
    streams,
    "tokens/s": (count / took).toFixed(1),
    "first p50": ms(firsts, 0.5),
    "first p95": ms(firsts, 0.95),
    "token p50": ms(betweens, 0.5),
    "token p95": ms(betweens, 0.95),
    errors,
  };
}

async function request(model, seed, firsts, betweens) {
  const prompt = Array.from({ length: promptLength }, (_, i) => 10 + ((seed * 7919 + i * i * 31 + i * (seed % 83)) % 90));
  const body = JSON.stringify({ model, prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true, logprobs: 0 });
  let last = performance.now();
  const answer = await fetch(`${url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (answer.status !== 200) throw new Error(await answer.text());
  let count = 0;
  let text = "";
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (text + part).split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (!event.includes('"text_offset"')) continue; // one for each token, as log-probabilities are wanted
      const now = performance.now();
      (count++ === 0 ? firsts : betweens).push(now - last);
      last = now;
    }
  }
  return count;
}

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
