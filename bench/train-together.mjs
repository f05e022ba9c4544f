/** @file Several experts trained at once over one base, compared with one after the other: a LoRA step of each, in turns.
 *
 *      node bench/train-together.mjs [--base FOLDER] [--precision int8] [--experts 4] [--rows 2] [--widths 32,128] [--rounds 3]
 *
 *  Without --base it writes the 512-wide Llama of `npm run bench`. Times are the medians of the rounds. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildIfStale } from "../scripts/build.mjs";

const { values: options } = parseArgs({
  options: {
    base: { type: "string" },
    precision: { type: "string", default: "float32" },
    experts: { type: "string", default: "4" },
    rows: { type: "string", default: "2" },
    widths: { type: "string", default: "16,32,64,128" },
    rounds: { type: "string", default: "3" },
  },
});
if (!(await buildIfStale())) process.exit(1);
const { CONFIGS, writeRandomCheckpoint } = await import("./random-checkpoint.mjs");
const { RANK, randomIds, targetsOf } = await import("./work.mjs");
const { int64 } = await import("../dist/base/tensor.js");
const { loadModel } = await import("../dist/library/model.js");
const { adapterLearner, freshLora } = await import("../dist/training/learner.js");
const { jointLearner } = await import("../dist/training/joint-learner.js");
const { JointPasses } = await import("../dist/training/joint-passes.js");
const { openPasses } = await import("../dist/training/passes.js");
const { Trainer } = await import("../dist/training/trainer.js");

const folder = options.base ?? mkdtempSync(join(tmpdir(), "skein-together-"));
if (!options.base) {
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  writeRandomCheckpoint(folder, CONFIGS.llama);
}
const [experts, rows, rounds] = [options.experts, options.rows, options.rounds].map(Number);
const model = await loadModel(folder, { precision: options.precision });
const { architecture, modules } = model.base;
const loras = Array.from({ length: experts }, (_, seed) =>
  freshLora(modules, { targets: targetsOf(model), rank: RANK, scaling: 1 / RANK, seed }),
);

// One session serves all experts that train one after the other, as they have the same form.
const alone = await openPasses(architecture, adapterLearner(model.base, loras[0]), { dropout: 0 });
const joint = await JointPasses.open(architecture, jointLearner(model.base, loras[0]), { dropout: 0 });
const trainerOf = (lora, passes) => Trainer.over(passes, adapterLearner(model.base, lora).initial, { seed: 1 });
const singles = await Promise.all(loras.map((lora) => trainerOf(lora, alone)));
const together = await Promise.all(loras.map((lora) => trainerOf(lora, joint.join())));

const table = [];
for (const width of options.widths.split(",").map(Number)) {
  const batches = loras.map((_, seed) => batchOf(width, seed));
  const steps = {
    "one after the other": async () => {
      for (const [i, trainer] of singles.entries()) await trainer.step(0, 1e-4, [batches[i]]);
    },
    "at once": () => Promise.all(together.map((trainer, i) => trainer.step(0, 1e-4, [batches[i]]))),
  };
  const times = Object.fromEntries(Object.keys(steps).map((name) => [name, []]));
  for (const step of Object.values(steps)) await step(); // the first call allocates
  for (let round = 0; round < rounds; round++) {
    for (const [name, step] of Object.entries(steps)) {
      const start = performance.now();
      await step();
      times[name].push(performance.now() - start);
    }
  }
  const [before, after] = Object.values(times).map((all) => [...all].sort((a, b) => a - b)[all.length >> 1]);
  table.push({
    "tokens a row": width,
    "one after the other, ms": Math.round(before),
    "at once, ms": Math.round(after),
    ratio: (after / before).toFixed(2),
  });
}
console.log(`${experts} experts, ${rows} rows each, rank ${RANK}, ${options.precision}`);
console.table(table);
await joint.dispose();
await alone.dispose();
await model.dispose();

function batchOf(width, seed) {
  const input_ids = randomIds(rows, width, architecture.vocabularySize, seed);
  const attention_mask = int64(input_ids.shape, new BigInt64Array(rows * width).fill(1n));
  const labels = randomIds(rows, width, architecture.vocabularySize, 100 + seed);
  return { feeds: { input_ids, attention_mask, labels }, sizes: { batch: rows, sequence: width, targets: 0 } };
}
