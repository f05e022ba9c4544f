// The study on public data: 26 experts, 11 held-out sets and every method, over any base. The experts' settings are those of recipes/pools/public.yaml.
// Run it with: npm run build && node recipes/public-study.mjs --base MODEL-FOLDER --name stories260k 1 2 3
//   --data     the small variant of the data, as recipes/public-data.mjs writes it      --work  the folder of experts and kept results
//   --name     the name of the results: results/public-NAME.json, .md and -*.svg        --out   the folder of the results
//   --experts  only the first so many sets have experts and held-in tests, for a first look: results/public-NAME-N.*
//   --trial    trains and evaluates very little, to test that all parts work            --summary  only writes the results of finished seeds
// A stopped run continues. Results are written after every seed, and within a seed before the multitask LoRAs and the Mixture of LoRAs are trained.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readPoolRecipe } from "../dist/fleet/recipe-file.js";
import { loadModel } from "../dist/library/model.js";
import { publicReport } from "../dist/studies/public-report.js";
import { publicSeed } from "../dist/studies/public-study.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    base: { type: "string" },
    name: { type: "string" },
    data: { type: "string", default: path("../demo-out/public-data") },
    work: { type: "string" },
    out: { type: "string" },
    experts: { type: "string" },
    trial: { type: "boolean" },
    summary: { type: "boolean" },
  },
});
const seeds = positionals.map(Number);
if (!flags.base || !flags.name || seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error("Name a base, the results and the seeds: node recipes/public-study.mjs --base FOLDER --name NAME 1 2 3");
  process.exit(1);
}
const work = flags.work ?? path(`../demo-out/public-${flags.name}`);
const results = flags.out ?? (flags.trial ? join(work, "results") : path("results"));
const recipe = await readPoolRecipe(path("pools/public.yaml"), { dataFolder: flags.data });
const [{ training: expert, gates }] = recipe.experts;
const { steps: _steps, validateEvery: _every, saveEvery: _save, seed: _seed, ...gateOptions } = gates;
// The longest gates cost as much as all other training of a seed: seed 3 alone has them.
const count = flags.experts && { numExperts: Number(flags.experts) };
const full = (seed) => ({
  training: { ...count, expert, gates: gateOptions, gateSteps: seed === 3 ? [10, 30, 100, 300] : [10, 30, 100], routerSteps: 120 },
  sizes: { heldIn: 8, heldOut: 20, joined: 8, numJoined: 8, ...(count && { numSets: count.numExperts }) },
  poolSizes: [1, 4, 12],
});
const trial = {
  training: { expert: { ...expert, steps: 2 }, gates: gateOptions, gateSteps: [1, 2], routerSteps: 2, numExperts: 3 },
  sizes: { heldIn: 1, heldOut: 1, joined: 1, numJoined: 1, numSets: 3, numHeldOut: 2 },
  poolSizes: [1],
};
const own = flags.experts ? `-${flags.experts}` : "";
const file = (seed) => join(work, `seed-${seed}`, `study${own}.json`);
const partFile = (seed) => join(work, `seed-${seed}`, `study${own}-part.json`);
const commit = () => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: path("."), encoding: "utf8" }).trim();
  } catch {
    return "not known";
  }
};

for (const seed of flags.summary ? [] : seeds) {
  if (!existsSync(file(seed))) {
    console.log(`seed ${seed}`);
    const model = await loadModel(flags.base);
    const tokenizer = await model.tokenizer();
    const onPart = (what) => console.log(`  ${new Date().toISOString().slice(11, 19)} ${what}`);
    const onMeasured = async (found) => {
      await writeFile(partFile(seed), `${JSON.stringify({ commit: commit(), ...found })}\n`);
      await summarize();
    };
    const place = { data: flags.data, out: join(work, `seed-${seed}`), seed, onPart, onMeasured };
    const found = await publicSeed({ model, tokenizer, baseName: flags.name, ...place, ...(flags.trial ? trial : full(seed)) });
    await model.dispose();
    await writeFile(file(seed), `${JSON.stringify({ commit: commit(), ...found })}\n`);
  }
  await summarize();
}
if (flags.summary) await summarize();

async function summarize() {
  const done = seeds.filter((seed) => existsSync(file(seed)) || existsSync(partFile(seed)));
  if (done.length === 0) return;
  const found = await Promise.all(
    done.map(async (seed) => JSON.parse(await readFile(existsSync(file(seed)) ? file(seed) : partFile(seed), "utf8"))),
  );
  const commits = [...new Set(found.map((run) => run.commit))].join(", ");
  const runs = found.map(({ commit: _, ...run }) => run);
  const command = `node recipes/public-study.mjs --base <${flags.name}> --name ${flags.name} ${flags.experts ? `--experts ${flags.experts} ` : ""}${done.join(" ")}`;
  const name = `public-${flags.name}${own}`;
  const { markdown, plots } = publicReport({ base: flags.name, commit: commits, command, runs }, name);
  await mkdir(results, { recursive: true });
  await writeFile(join(results, `${name}.json`), `${JSON.stringify({ base: flags.name, commit: commits, command, runs })}\n`);
  await writeFile(join(results, `${name}.md`), markdown);
  for (const [plot, svg] of plots) await writeFile(join(results, `${name}-${plot}.svg`), svg);
  console.log(`wrote ${join(results, `${name}.md`)}: seeds ${done.join(", ")}`);
}
