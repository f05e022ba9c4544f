/** @file What a routed token must read and compute at least, by term, from the sizes of a model alone.
 *
 *      node bench/cost-model.mjs [--model q] [--precision float32] [--experts 166] [--rank 16] [--rows 1] [--length 32] [--factors 4] [--measure]
 *
 *  A step reads one token for each of `rows` rows, after `length` tokens. k = 2 experts are chosen for each token at each module:
 *
 *      base weights      in * out * b        2 * rows * in * out              b: 4, 1 + 4 / in, or 5/8 bytes a weight (float32, int8, int4)
 *      gates             experts * in * 4    2 * rows * experts * in
 *      chosen factors    n * r * (in + out) * f    2 * rows * k * r * (in + out)    n = min(rows * k, experts); f: --factors, bytes a number
 *      keys and values   rows * 2 * layers * width of keys * length * 4
 *      activations       rows * (in + out) * 4, written once and read once
 *
 *  --measure adds how fast the engine's product reads float32 weights for one row, how fast it multiplies for 512, and the time that the bytes
 *  and the arithmetic take at those speeds: no step can be shorter than the larger of the two. */

import { parseArgs } from "node:util";
import { float32 } from "../dist/base/tensor.js";
import { createGraph } from "../dist/graph/graph.js";
import { matmul } from "../dist/graph/ops/linalg.js";
import { tracedModules } from "../dist/models/logits.js";
import { architectureOf } from "../dist/models/registry.js";
import { Session } from "../dist/runtime/session.js";
import { CONFIGS } from "./random-checkpoint.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "q" },
    precision: { type: "string", default: "float32" },
    experts: { type: "string", default: "166" },
    rank: { type: "string", default: "16" },
    rows: { type: "string", default: "1" },
    length: { type: "string", default: "32" },
    factors: { type: "string", default: "4" },
    measure: { type: "boolean", default: false },
  },
});
const [experts, rank, rows, length, factorBytes] = ["experts", "rank", "rows", "length", "factors"].map((name) => Number(options[name]));
const K = 2;
const FLOAT = 4;
const WEIGHT_BYTES = { float32: () => FLOAT, int8: ({ in: inputs }) => 1 + FLOAT / inputs, int4: () => 1 / 2 + FLOAT / 32 };

const config = CONFIGS[options.model];
const architecture = architectureOf({ config, tensors: new Map(), directory: "." });
const modules = [...tracedModules(architecture)]
  .filter(([module, size]) => !size.embedding && !size.idle && isInAStep(module))
  .map(([, size]) => size);
const routed = modules.filter(({ out }) => out !== architecture.vocabularySize);
const sum = (sizes, of) => sizes.reduce((total, size) => total + of(size), 0);
const keyWidth = (config.num_key_value_heads ?? config.num_heads) * (config.d_kv ?? config.hidden_size / config.num_attention_heads);

// The head is stored in 8 bits where projections are in 4.
const bytesAWeight = (size) =>
  WEIGHT_BYTES[options.precision === "int4" && size.out === architecture.vocabularySize ? "int8" : options.precision](size);
const chosen = Math.min(rows * K, experts);
const terms = {
  "base weights": [sum(modules, (m) => m.in * m.out * bytesAWeight(m)), 2 * rows * sum(modules, (m) => m.in * m.out)],
  "gates of all experts": [FLOAT * experts * sum(routed, (m) => m.in), 2 * rows * experts * sum(routed, (m) => m.in)],
  "chosen experts' factors": [
    factorBytes * chosen * rank * sum(routed, (m) => m.in + m.out),
    2 * rows * K * rank * sum(routed, (m) => m.in + m.out),
  ],
  "keys and values": [FLOAT * rows * 2 * decoderLayers() * keyWidth * length, 0],
  activations: [2 * FLOAT * rows * sum(modules, (m) => m.in + m.out), 0],
};
const [baseBytes] = terms["base weights"];
console.log(
  `${options.model}, ${options.precision}, ${experts} experts of rank ${rank}, ${rows} rows, ${length} tokens before, ${routed.length} routed modules\n`,
);
console.log("| term | MB | of the base's | MFLOP |\n| --- | ---: | ---: | ---: |");
for (const [name, [bytes, flops]] of Object.entries(terms)) print(name, bytes, flops);
const [allBytes, allFlops] = [0, 1].map((i) => sum(Object.values(terms), (term) => term[i]));
print("all", allBytes, allFlops);
if (options.measure) await measure();

function print(name, bytes, flops) {
  console.log(`| ${name} | ${(bytes / 1e6).toFixed(1)} | ${(bytes / baseBytes).toFixed(3)} | ${(flops / 1e6).toFixed(0)} |`);
}

/** Whether a decoding step computes the module: an encoder's modules and the keys and values of its output are computed once a prompt. */
function isInAStep(module) {
  return !module.startsWith("encoder.") && !/EncDecAttention\.[kv]$/.test(module);
}

function decoderLayers() {
  return architecture.kind === "encoder-decoder" ? architecture.numDecoderLayers : architecture.numLayers;
}

async function measure() {
  const [inputs, outputs] = [4096, 16384]; // 268 MB, more than a cache holds
  const oneRow = await fastest(1, inputs, outputs);
  const many = await fastest(512, 1024, 4096);
  const [bytesASecond, flopsASecond] = [(FLOAT * inputs * outputs) / oneRow, (2 * 512 * 1024 * 4096) / many];
  console.log(`\nOne row: ${(bytesASecond / 1e9).toFixed(1)} GB/s. 512 rows: ${(flopsASecond / 1e9).toFixed(0)} GFLOP/s in float32.`);
  console.log(
    `Bounds of this step: ${((1e3 * allBytes) / bytesASecond).toFixed(1)} ms by bytes, ${((1e3 * allFlops) / flopsASecond).toFixed(1)} ms by arithmetic.`,
  );
  console.log(`The base alone: ${((1e3 * baseBytes) / bytesASecond).toFixed(1)} ms by bytes.`);
}

/** Seconds of the fastest product [count, inputs] x [inputs, outputs] in a second and a half; the weights are packed by the engine. In its first
 *  half second a process may have only one core. */
async function fastest(count, inputs, outputs) {
  const graph = createGraph("product");
  const x = graph.float("x", "rows", inputs);
  graph.output("y", matmul(x, graph.constant(float32([inputs, outputs], new Float32Array(inputs * outputs).fill(0.01)))));
  const session = await Session.load(graph);
  const feeds = { x: float32([count, inputs]) };
  const end = performance.now() + 1500;
  let best = Number.POSITIVE_INFINITY;
  while (performance.now() < end) {
    const start = performance.now();
    await session.run(feeds);
    best = Math.min(best, (performance.now() - start) / 1e3);
  }
  await session.dispose();
  return best;
}
