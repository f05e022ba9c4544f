/** @file A server to measure, and streams of requests on it. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const MOST_STREAMS = 256;

/** The server of this checkout on a free port. */
export async function started({ base, pool, precision = "float32", flags = [] }) {
  const bin = fileURLToPath(new URL("../bin/skein.js", import.meta.url));
  const own = ["serve", "--json", "--port", "0", "--parallel", "128", "--max-queue", "512", "--base", base, "--precision", precision];
  const child = spawn(process.execPath, [bin, ...own, ...(pool ? ["--pool", pool] : []), ...flags], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const line = await new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      if (text.includes("\n")) resolve(text);
    });
    child.on("exit", (code) => reject(new Error(`the server ended with code ${code}: skein ${[...own].join(" ")}`)));
  });
  return { child, ended, ...JSON.parse(line) };
}

export async function servedModels(url) {
  return (await (await fetch(`${url}/v1/models`)).json()).data;
}

/** The base, an expert, the pool, and a mix of them. */
export function standardModels(data) {
  const of = (kind) => data.find((model) => model.skein.kind === kind)?.id;
  const found = ["base", "expert", "pool"].map(of).filter((name) => name !== undefined);
  return found.length > 1 ? [...found, found.join("+")] : found;
}

/** So many streams. They are counted for so many seconds, from the moment at which each of them has had a token. The first requests differ in
 *  length, so that later ones do not begin all at once. */
export async function load({ url, name, streams: wanted, seconds, tokens, promptLength }) {
  const models = name.split("+");
  const streams = Math.min(wanted, MOST_STREAMS);
  const [firsts, betweens] = [[], []];
  const over = new AbortController(); // requests that run on are not waited for
  let [begun, errors, start, end] = [0, 0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const isOpen = () => performance.now() >= start && performance.now() < end;
  const begin = () => {
    if (++begun < streams) return;
    start = performance.now();
    end = start + seconds * 1000;
    setTimeout(() => over.abort(), seconds * 1000);
  };
  const stream = async (number) => {
    let hasBegun = false;
    for (let turn = 0; performance.now() < end; turn++) {
      const seed = number * 1000 + turn;
      const prompt = Array.from({ length: promptLength }, (_, i) => 10 + ((seed * 7919 + i * i * 31 + i * (seed % 83)) % 90));
      const length = turn === 0 ? Math.ceil(tokens * (1 + number / streams)) : tokens;
      const onToken = (isFirst, ms) => {
        if (isOpen()) (isFirst ? firsts : betweens).push(ms);
        if (!hasBegun) begin();
        hasBegun = true;
      };
      await between({ url, model: models[(number + turn) % models.length], prompt, tokens: length, onToken, signal: over.signal }).catch(
        () => {
          if (over.signal.aborted) return;
          if (!hasBegun) begin();
          hasBegun = true;
          errors++;
        },
      );
    }
  };
  await Promise.all(Array.from({ length: streams }, (_, number) => stream(number)));
  const ms = (values, share) => (values.length === 0 ? "none" : percentile(values, share).toFixed(1));
  return {
    model: name,
    streams,
    "tokens/s": ((firsts.length + betweens.length) / seconds).toFixed(1),
    "first p50": ms(firsts, 0.5),
    "first p95": ms(firsts, 0.95),
    "token p50": ms(betweens, 0.5),
    "token p95": ms(betweens, 0.95),
    errors,
  };
}

/** One request in a stream. `onToken` gets the milliseconds before each token. Returns the number of tokens. */
export async function between({ url, model, prompt, tokens, onToken = () => {}, signal }) {
  const body = JSON.stringify({ model, prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true, logprobs: 0 });
  let last = performance.now();
  const answer = await fetch(`${url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body, signal });
  if (answer.status !== 200) throw new Error(await answer.text());
  let count = 0;
  let text = "";
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (text + part).split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (!event.includes('"text_offset"')) continue; // one for each token, as log-probabilities are wanted
      const now = performance.now();
      onToken(count++ === 0, now - last);
      last = now;
    }
  }
  return { count };
}

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
