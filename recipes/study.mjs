// The study: sixteen experts, six held-out tasks, every router, k, pool sizes and gate steps, over several seeds.
// Run it with: npm run build && node recipes/study.mjs 1 2 3 4 5        (a stopped run continues; its files are in demo-out/study/)
// After every seed it writes the results of all named seeds that are finished: results/study.json, study.md and study-*.svg.
// --trial trains very little, to test that all parts work. --summary only writes the results of finished seeds. --out FOLDER changes the folder for both.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { studySeed } from "../dist/studies/study.js";
import { studyReport } from "../dist/studies/study-report.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { trial: { type: "boolean" }, summary: { type: "boolean" }, work: { type: "string" }, out: { type: "string" } },
});
const seeds = positionals.map(Number);
if (seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error("Name the seeds: node recipes/study.mjs 1 2 3 4 5");
  process.exit(1);
}
const work = flags.work ?? path(flags.trial ? "../demo-out/study-trial" : "../demo-out/study");
const results = flags.out ?? (flags.trial ? join(work, "results") : path("results"));
const trial = flags.trial && {
  size: { numExamples: 64, steps: 2, multitaskSteps: 2, gateSteps: [0, 10, 100], numStatistics: 16 },
  numTests: { heldIn: 2, heldOut: 4 },
};
const file = (seed) => join(work, `seed-${seed}`, "study.json");

for (const seed of flags.summary ? [] : seeds) {
  if (!existsSync(file(seed))) {
    console.log(`seed ${seed}`);
    let part = "";
    const note = (what) => {
      if (what !== part) console.log(`  ${new Date().toISOString().slice(11, 19)} ${what}`);
      part = what;
    };
    const found = await studySeed({ out: join(work, `seed-${seed}`), seed, onPart: note, onEvaluation: note, ...trial });
    await writeFile(file(seed), `${JSON.stringify(found)}\n`);
  }
  await summarize();
}
if (flags.summary) await summarize();

async function summarize() {
  const done = seeds.filter((seed) => existsSync(file(seed)));
  if (done.length === 0) return;
  const runs = await Promise.all(done.map(async (seed) => JSON.parse(await readFile(file(seed), "utf8"))));
  const { markdown, plots } = studyReport(runs);
  await mkdir(results, { recursive: true });
  await writeFile(join(results, "study.json"), `${JSON.stringify({ seeds: done, runs }, null, 1)}\n`);
  await writeFile(join(results, "study.md"), markdown);
  for (const [name, svg] of plots) await writeFile(join(results, `study-${name}.svg`), svg);
  console.log(`wrote ${join(results, "study.md")}: seeds ${done.join(", ")}`);
}
