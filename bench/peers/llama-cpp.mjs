/** @file llama.cpp as a peer, through node-llama-cpp's prebuilt binary: greedy decoding at batch 1 after a short prompt, and the reading of a
 *  long prompt. Prints one JSON object, with medians in milliseconds.
 *
 *      node bench/peers/llama-cpp.mjs FILE.gguf MODULE_FOLDER [--threads 2] [--repeats 3] [--tokens 32] [--prompt 512]
 *
 *  MODULE_FOLDER holds node_modules with node-llama-cpp (`npm run bench -- --with-llama-cpp` installs it in a temporary folder). */

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    repeats: { type: "string", default: "3" },
    tokens: { type: "string", default: "32" },
    prompt: { type: "string", default: "512" },
  },
  allowPositionals: true,
});
const [file, folder] = positionals;
const [threads, repeats, tokens, prompt] = [options.threads, options.repeats, options.tokens, options.prompt].map(Number);

const require = createRequire(join(folder, "package.json"));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: prompt + 64, batchSize: prompt, threads });
const sequence = context.getSequence();
const ids = (length, seed) => Array.from({ length }, (_, i) => 3 + ((i * 7919 + seed * 104729) % 8000));

const [decode, prefill] = [[], []];
for (let run = 0; run <= repeats; run++) {
  await sequence.clearHistory();
  let start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(ids(prompt, run));
  prefill.push(performance.now() - start);
  await sequence.clearHistory();
  let count = -1; // the first token ends the prompt
  for await (const _ of sequence.evaluate(ids(32, run), { temperature: 0, yieldEogToken: true })) {
    if (count < 0) start = performance.now();
    if (++count === tokens) break;
  }
  decode.push((performance.now() - start) / tokens);
}
// The first run allocates.
const median = (times) => times.slice(1).sort((a, b) => a - b)[(times.length - 1) >> 1];
console.log(JSON.stringify({ threads, decodeMs: median(decode), prefillMs: median(prefill) }));
await llama.dispose();
process.exit(0); // its worker threads would keep the process
