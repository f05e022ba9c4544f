// Gates from data against gates from samples that the experts write themselves, beside Arrow, SpectR and uniform weights.
// On the demo:          npm run build && node recipes/sample-gates.mjs --demo demo-out 1 2 3 4 5     (demo-out/seed-N, as recipes/demo-seeds.mjs left them)
// On the public study:  node recipes/sample-gates.mjs --study demo-out/public-stories260k --base FOLDER --data demo-out/public-data --name stories260k 1
//   --counts 64,256,1024   numbers of samples
//   --prompts own | all | FILE   what the experts continue, in place of openings of the base: the questions of the expert's own training rows,
//                          without their answers; the questions of all experts' rows; a file of prompts
//   --work FOLDER          samples and gates        --out FOLDER     the results: sample-gates-NAME.json and .md
// A stopped run continues. The results are written after every seed.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readPrompts } from "../dist/data/prompts.js";
import { readPoolRecipe } from "../dist/fleet/recipe-file.js";
import { sampleGates, sampleGatesTable } from "../dist/studies/sample-gates.js";
import { demoSetting, publicSetting } from "../dist/studies/sample-gates-settings.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    demo: { type: "string" },
    study: { type: "string" },
    base: { type: "string" },
    data: { type: "string", default: path("../demo-out/public-data") },
    name: { type: "string", default: "demo" },
    counts: { type: "string", default: "64,256,1024" },
    prompts: { type: "string" },
    work: { type: "string" },
    out: { type: "string", default: path("results") },
  },
});
const seeds = positionals.map(Number);
if (seeds.length === 0 || (flags.demo === undefined) === (flags.study === undefined)) {
  console.error("Name one of --demo and --study, and the seeds.");
  process.exit(1);
}
const work = flags.work ?? path(`../demo-out/sample-gates-${flags.name}`);
const written = flags.prompts && !["own", "all"].includes(flags.prompts) && (await readPrompts(flags.prompts)).map(({ text }) => text);
const SOURCES = {
  own: "questions of the expert's own training rows, without answers",
  all: "questions of all experts' training rows, without answers",
};
const source = flags.prompts ? (SOURCES[flags.prompts] ?? "a file of prompts") : "openings of the base";
const counts = flags.counts.split(",").map(Number);
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: path("."), encoding: "utf8" }).trim();
const runs = [];
for (const seed of seeds) {
  const file = join(work, `seed-${seed}`, "found.json");
  const known = existsSync(file) && JSON.parse(await readFile(file, "utf8"));
  if (!known || known.prompts !== source || String(known.counts) !== String(counts)) {
    console.log(`seed ${seed}`);
    const setting = flags.demo ? await demoSetting(join(flags.demo, `seed-${seed}`), seed) : await studySetting(seed);
    const onPart = (part) => console.log(`  ${new Date().toISOString().slice(11, 19)} ${part}`);
    const prompts = promptsOf(setting.questions);
    const found = await sampleGates({ ...setting, counts, prompts, seed, out: join(work, `seed-${seed}`), onPart });
    await setting.model.dispose();
    await mkdir(join(work, `seed-${seed}`), { recursive: true });
    await writeFile(file, `${JSON.stringify({ commit, prompts: source, counts, ...found })}\n`);
  }
  runs.push(JSON.parse(await readFile(file, "utf8")));
  await mkdir(flags.out, { recursive: true });
  const asked = flags.prompts ? `--prompts ${flags.prompts} ` : "";
  const command = `node recipes/sample-gates.mjs ${flags.demo ? "--demo" : "--study"} ... --counts ${flags.counts} ${asked}--name ${flags.name} ${runs.map((run) => run.seed).join(" ")}`;
  const commits = [...new Set(runs.map((run) => run.commit))].join(", ");
  await writeFile(join(flags.out, `sample-gates-${flags.name}.json`), `${JSON.stringify({ command, prompts: source, runs })}\n`);
  await writeFile(
    join(flags.out, `sample-gates-${flags.name}.md`),
    sampleGatesTable(runs, { name: flags.name, command, source, commit: commits }),
  );
  console.log(`wrote ${join(flags.out, `sample-gates-${flags.name}.md`)}`);
}

/** What each expert continues; nothing for openings. */
function promptsOf(questions) {
  if (written) return () => written;
  if (flags.prompts === "own") return (expert) => questions.get(expert);
  if (flags.prompts === "all") return () => [...questions.values()].flat();
  return undefined;
}

async function studySetting(seed) {
  const recipe = await readPoolRecipe(path("pools/public.yaml"), { dataFolder: flags.data });
  const [{ training: expert, gates }] = recipe.experts;
  return publicSetting(join(flags.study, `seed-${seed}`), { base: flags.base, data: flags.data, seed, expert, gates });
}
