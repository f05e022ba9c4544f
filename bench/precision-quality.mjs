/** @file What fewer bits change, beside float32.
 *
 *      node bench/precision-quality.mjs text BASE TEXT_FILE              by lines: perplexity, likeliest tokens, greedy answers
 *      node bench/precision-quality.mjs demo DEMO_FOLDER                 exact match, answers and routes of the demo's pool (skein demo)
 *      node bench/precision-quality.mjs learn BASE TEXT_FILE [CHART.svg] the losses of a LoRA that trains on the text, line by line */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { int64, padded } from "../dist/base/tensor.js";
import { DEMO_BASE } from "../dist/demo/evaluation-task.js";
import { examples, HELD_IN_TASKS, HELD_OUT_TASKS } from "../dist/demo/tasks.js";
import { chartSvg } from "../dist/evaluation/report/chart-file.js";
import { generateBatch } from "../dist/generation/generate.js";
import { loadModel } from "../dist/library/model.js";
import { trainExpert } from "../dist/training/train.js";

const PRECISIONS = ["float32", "int8", "int4"];
const [PROMPT, ANSWER] = [12, 48]; // tokens
const STEPS = 120;

const [part, ...args] = process.argv.slice(2);
const PARTS = { text: ofText, demo: ofDemo, learn: learning };
if (!PARTS[part] || args.length === 0) {
  console.error("usage: node bench/precision-quality.mjs text BASE TEXT_FILE | demo DEMO_FOLDER | learn BASE TEXT_FILE [CHART.svg]");
  process.exit(1);
}
await PARTS[part](...args);

/** Calls `measure` with the model of each precision and the result of float32; prints the rows. */
async function eachPrecision(base, options, measure) {
  const rows = [];
  let float;
  for (const precision of PRECISIONS) {
    const model = await loadModel(base, { ...options, precision });
    const found = await measure(model, await model.tokenizer());
    float ??= found;
    rows.push({ precision, ...found.row(float) });
    await model.dispose();
  }
  console.table(rows);
}

async function ofText(base, file) {
  const text = (await readFile(file, "utf8")).trim();
  await eachPrecision(base, {}, async (model, tokenizer) => {
    const documents = text.split("\n").filter((line) => line.trim() !== "");
    const scores = await model.score(documents.map((continuation) => ({ context: "", continuation })));
    const total = (key) => scores.reduce((sum, one) => sum + one[key], 0);
    const lines = documents.map((line) => tokenizer.encode(line));
    const rows = lines.filter(({ length }) => length > PROMPT);
    const likeliest = [];
    for (const row of rows) likeliest.push(...argmaxes(await model.forward({ inputIds: int64([1, row.length], row) })));
    const prompts = rows.slice(0, 16).map((row) => row.slice(0, PROMPT));
    const answers = (await generateBatch(model, prompts, { temperature: 0, maxNewTokens: ANSWER, ignoreEos: true })).map((one) => [
      ...one.ids,
    ]);
    return {
      likeliest,
      answers,
      row: (float) => ({
        tokens: total("tokens"),
        perplexity: Math.exp(-total("sum") / total("tokens")).toFixed(4),
        "same likeliest token": percent(share(likeliest, float.likeliest)),
        "same answer up to": `${mean(answers.map((own, i) => prefix(own, float.answers[i]))).toFixed(1)} of ${ANSWER} tokens`,
      }),
    };
  });
}

async function ofDemo(folder) {
  const pool = join(folder, "pool");
  const asked = [...HELD_IN_TASKS, ...HELD_OUT_TASKS].flatMap((task) => examples(task, "test", 10, 1));
  await eachPrecision(DEMO_BASE, { pool }, async (model, tokenizer) => {
    const prompts = asked.map(({ input }) => tokenizer.encode(input));
    const generated = await generateBatch(model, prompts, { temperature: 0, maxNewTokens: 24 });
    const answers = generated.map(({ ids }) => tokenizer.decode([...ids], { skipSpecialTokens: true }).trim());
    const { ids, mask } = padded(prompts.slice(0, 32));
    const start = int64([32, 1]);
    const { routes } = await model.forward({ inputIds: ids, attentionMask: mask, decoderInputIds: start }, { routes: true });
    const chosen = [...routes].flatMap(([, { experts }]) => choicesOf(experts, mask));
    return {
      answers,
      chosen,
      row: (float) => ({
        questions: asked.length,
        "exact match": percent(
          share(
            answers,
            asked.map(({ target }) => target.trim()),
          ),
        ),
        "same answer": percent(share(answers, float.answers)),
        "other routes": percent(1 - share(chosen, float.chosen)),
      }),
    };
  });
}

async function learning(base, file, chart) {
  const lines = (await readFile(file, "utf8"))
    .trim()
    .split("\n")
    .filter((line) => line.trim() !== "");
  const training = lines.map((text) => ({ kind: "text", text }));
  const options = { steps: STEPS, batchSize: 4, microBatchSize: 4, rank: 8, alpha: 16, lr: 1e-3, maxLength: 128, dropout: 0 };
  const series = [];
  for (const precision of PRECISIONS) {
    const model = await loadModel(base, { precision });
    const points = [];
    const hooks = { onProgress: ({ step, loss }) => points.push({ x: step, y: loss }) };
    await trainExpert({ model, tokenizer: await model.tokenizer(), training, options, hooks });
    series.push({
      name: precision,
      points: points.map(({ x }, i) => ({ x, y: mean(points.slice(Math.max(0, i - 9), i + 1).map(({ y }) => y)) })),
    });
    await model.dispose();
  }
  const at = (step) => Object.fromEntries(series.map(({ name, points }) => [name, points[step - 1].y.toFixed(4)]));
  console.table([10, 40, 80, STEPS].map((step) => ({ step, ...at(step) })));
  const svg = chartSvg({ title: "LoRA training, mean loss of 10 steps", x: "step", y: "loss", series });
  if (chart) await writeFile(chart, svg);
}

/** The likeliest token at each position of logits [1, sequence, vocabulary]. */
function argmaxes({ logits: { data, shape } }) {
  const [, sequence, vocabulary] = shape;
  return Array.from({ length: sequence }, (_, t) => {
    const row = data.subarray(t * vocabulary, (t + 1) * vocabulary);
    return row.indexOf(Math.max(...row));
  });
}

/** The chosen experts of every token but padding, whatever their order: experts int64 [batch, sequence, k]; mask of the prompts. */
function choicesOf({ data, shape }, mask) {
  const [, sequence, k] = shape;
  const isPadding = (t) => sequence === mask.shape[1] && mask.data[t] === 0n; // the decoder's one token is not padded
  const tokens = Array.from({ length: data.length / k }, (_, t) => t).filter((t) => !isPadding(t));
  return tokens.map((t) => [...data.subarray(t * k, (t + 1) * k)].sort().join());
}

function prefix(own, other) {
  const differs = own.findIndex((id, i) => id !== other[i]);
  return differs < 0 ? own.length : differs;
}
function share(own, other) {
  return own.filter((one, i) => one === other[i]).length / own.length;
}
function mean(numbers) {
  return numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
}
function percent(part) {
  return `${(100 * part).toFixed(1)} %`;
}
