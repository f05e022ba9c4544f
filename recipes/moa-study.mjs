// Mixture-of-LoRAs on public data of five domains, with every baseline and ablation. moa-data.mjs lists the data sets and their places in DATA.
// Run it with: npm run build && node recipes/moa-study.mjs --base BASE --data DATA 1 2 3     (a stopped run continues; its files are in demo-out/moa-study/)
// BASE is any decoder-only base, a folder or a Hugging Face id. The results in results/ use karpathy's stories260K as a Llama checkpoint. It is small
// enough for two cores, and too small to answer questions. For a larger base use longer answers and batches that fit: --answer, --batch-size.
// --joint-lr RATE is the learning rate of routers and trained LoRAs together (1e-3, chosen on seed 11 from 1e-3, 2e-3 and 5e-3).
// --summary only writes the results of the finished seeds. --out FOLDER is for results, --work FOLDER for saved states; with other folders, another setting overwrites nothing.
import { parseArgs } from "node:util";
import { moaStudy } from "../dist/demo/moa-study.js";
import { loadModel } from "../dist/library/model.js";
import { readDomains } from "./moa-data.mjs";
import { overMoaSeeds } from "./moa-results.mjs";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    base: { type: "string" },
    data: { type: "string" },
    summary: { type: "boolean" },
    out: { type: "string" },
    work: { type: "string" },
    "joint-lr": { type: "string", default: "1e-3" },
    prompt: { type: "string", default: "320" },
    answer: { type: "string", default: "120" },
    "batch-size": { type: "string", default: "8" },
    steps: { type: "string", default: "60" },
  },
});
if (!flags.summary && (!flags.base || !flags.data)) {
  console.error("Name a base and a folder of data: node recipes/moa-study.mjs --base BASE --data DATA 1 2 3");
  process.exit(1);
}
const sizes = { prompt: Number(flags.prompt), answer: Number(flags.answer) }; // characters
const counts = { training: 1200, test: 100 };
const batchSize = Number(flags["batch-size"]);
const options = {
  expertSteps: Number(flags.steps),
  steps: Math.round(1.5 * Number(flags.steps)),
  rank: 8,
  alpha: 8,
  lr: 5e-3,
  jointLr: Number(flags["joint-lr"]),
  batchSize,
  microBatchSize: Math.min(batchSize, 16),
  maxLength: 512,
  maxTokens: Math.ceil(sizes.answer / 2),
  ablations: true,
};

await overMoaSeeds({
  seeds: positionals,
  usage: "node recipes/moa-study.mjs --base BASE --data DATA 1 2 3",
  summary: flags.summary,
  name: "moa-study",
  work: flags.work,
  results: flags.out,
  run: study,
  report: {
    title: "Mixture-of-LoRAs on five domains of public data",
    about: `Made by \`recipes/moa-study.mjs\` with stories260K as the base: ${counts.training} training pairs a domain where there are as many (exam has 295), 100 test
pairs (exam 59), prompts of at most ${sizes.prompt} characters, answers of ${sizes.answer}. A base of 260,000 parameters that has read children's stories cannot answer such questions,
so BLEU, ROUGE-L and exact match say little here; perplexity, and who tells the domains, are the numbers to read.`,
    metric: "perplexity",
  },
});

async function study(out, seed, onPart) {
  const model = await loadModel(flags.base);
  try {
    const tokenizer = await model.base.tokenizer();
    const domains = await readDomains(flags.data, { sizes, counts });
    const title = "Mixture-of-LoRAs on public data";
    return await moaStudy({ model, tokenizer, title, domains, options: { ...options, seed }, runs: `${out}/runs`, onPart });
  } finally {
    await model.dispose();
  }
}
