// Settings of PHATGOOSE on development rows of the study on public data: gates, k, temperature, and whom its scores choose at each kind of module.
// Run it with: npm run build && node recipes/gate-development.mjs --base MODEL-FOLDER --study demo-out/public-stories260k --name stories260k 1
//   --study    the folder of the study's experts (public-study.mjs); missing experts are trained      --data  as recipes/public-data.mjs wrote it
//   --rank, --alpha   experts with another rank or scaling, in a folder of their own                    --out   the folder of the results
//   --experts  only the first so many sets      --rates  other learning rates of gates, with commas: 0.05      --rows  rows of each set
// A stopped run goes on.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readPoolRecipe } from "../dist/fleet/recipe-file.js";
import { loadModel } from "../dist/library/model.js";
import { developmentPage, gateDevelopment } from "../dist/studies/gate-development.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    base: { type: "string" },
    study: { type: "string" },
    name: { type: "string" },
    data: { type: "string", default: path("../demo-out/public-data") },
    rank: { type: "string" },
    alpha: { type: "string" },
    experts: { type: "string" },
    rates: { type: "string", default: "" },
    rows: { type: "string", default: "8" },
    out: { type: "string", default: path("results") },
  },
});
const seeds = positionals.map(Number);
if (!flags.base || !flags.study || !flags.name || seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error("Name --base, --study, --name and the seeds.");
  process.exit(1);
}
const recipe = await readPoolRecipe(path("pools/public.yaml"), { dataFolder: flags.data });
const [{ training, gates }] = recipe.experts;
const { steps: _steps, validateEvery: _every, saveEvery: _save, seed: _seed, ...gateOptions } = gates;
const change = { ...(flags.rank && { rank: Number(flags.rank) }), ...(flags.alpha && { alpha: Number(flags.alpha) }) };
const changed = Object.entries(change).map(([key, value]) => `-${key}-${value}`);
const expert = { ...training, ...change };
const count = flags.experts && { numExperts: Number(flags.experts) };
const settings = { expert, gates: gateOptions, gateSteps: changed.length > 0 ? [100] : [10, 30, 100], routerSteps: 0, ...count };
const rates = flags.rates.split(",").filter(Boolean).map(Number);
const name = `${flags.name}${changed.join("")}${flags.experts ? `-${flags.experts}` : ""}`;
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: path("."), encoding: "utf8" }).trim();
const runs = [];
for (const seed of seeds) {
  const out = join(`${flags.study}${changed.join("")}`, `seed-${seed}`);
  const file = join(out, `development-${name}.json`);
  if (!existsSync(file)) {
    console.log(`seed ${seed}`);
    const model = await loadModel(flags.base);
    const onPart = (part) => console.log(`  ${new Date().toISOString().slice(11, 19)} ${part}`);
    const place = { baseName: flags.name, data: flags.data, out, seed, onPart };
    const job = { model, tokenizer: await model.tokenizer(), ...place, training: settings, rows: Number(flags.rows), rates };
    await writeFile(file, `${JSON.stringify({ commit, ...(await gateDevelopment(job)) })}\n`);
    await model.dispose();
  }
  runs.push(JSON.parse(await readFile(file, "utf8")));
}
await mkdir(flags.out, { recursive: true });
const options = Object.entries({
  ...change,
  ...(flags.experts && { experts: flags.experts }),
  ...(flags.rates && { rates: flags.rates }),
  rows: flags.rows,
});
const extra = options.map(([key, value]) => `--${key} ${value} `).join("");
const command = `node recipes/gate-development.mjs --base <${flags.name}> --study ... --name ${flags.name} ${extra}${seeds.join(" ")}`;
const commits = [...new Set(runs.map((run) => run.commit))].join(", ");
await writeFile(join(flags.out, `gate-development-${name}.json`), `${JSON.stringify({ command, commit: commits, runs })}\n`);
await writeFile(join(flags.out, `gate-development-${name}.md`), developmentPage(runs, { name, command, commit: commits }));
console.log(`wrote ${join(flags.out, `gate-development-${name}.md`)}`);
