// Code of moa-seeds.mjs and moa-study.mjs: runs one seed after another, keeps each finished one, and writes results as JSON, Markdown and plots.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { moaReport, moaRun } from "../dist/studies/moa-report.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

export async function overMoaSeeds({ seeds: named, usage, summary = false, name, work, results = path("results"), run, report }) {
  const seeds = named.map(Number);
  if (seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
    console.error(`Name the seeds: ${usage}`);
    process.exit(1);
  }
  const folder = (seed) => join(work ?? path(`../demo-out/${name}`), `seed-${seed}`);
  const file = (seed) => join(folder(seed), "run.json");
  for (const seed of summary ? [] : seeds) {
    if (existsSync(file(seed))) continue;
    console.log(`seed ${seed}`);
    const study = await run(folder(seed), seed, progress());
    await writeFile(file(seed), `${JSON.stringify(moaRun(seed, study))}\n`);
  }
  const done = seeds.filter((seed) => existsSync(file(seed)));
  if (done.length === 0) return;
  const runs = await Promise.all(done.map(async (seed) => JSON.parse(await readFile(file(seed), "utf8"))));
  const { markdown, plots } = moaReport(runs, { plots: name, ...report });
  await mkdir(results, { recursive: true });
  await writeFile(join(results, `${name}.json`), `${JSON.stringify({ seeds: done, runs }, null, 1)}\n`);
  await writeFile(join(results, `${name}.md`), markdown);
  for (const [plot, svg] of plots) await writeFile(join(results, `${name}-${plot}.svg`), svg);
  console.log(`wrote ${join(results, `${name}.md`)}: seeds ${done.join(", ")}`);
}

/** Prints each part when it begins. */
function progress() {
  let last = "";
  return (part) => {
    if (part !== last) console.log(`  ${new Date().toISOString().slice(11, 19)} ${part}`);
    last = part;
  };
}
