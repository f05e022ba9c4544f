// The demo over several seeds: mean and spread of every method, as JSON and Markdown in recipes/results/.
// Run it with: npm run build && node recipes/demo-seeds.mjs 1 2 3 4 5      (a stopped run continues; its files are in demo-out/)
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { runDemo } from "../dist/studies/demo.js";

const seeds = process.argv.slice(2).map(Number);
if (seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error("Name the seeds: node recipes/demo-seeds.mjs 1 2 3 4 5");
  process.exit(1);
}
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const runs = [];
for (const seed of seeds) {
  console.log(`seed ${seed}`);
  const { evaluation } = await runDemo({ out: path(`../demo-out/seed-${seed}`), seed });
  const methods = evaluation.methods.filter(({ kind }) => kind !== "experts");
  runs.push({
    seed,
    methods: Object.fromEntries(
      methods.map(({ name, means }) => [name, Object.fromEntries(means.map(({ group = "all", value }) => [group, value]))]),
    ),
    tasks: Object.fromEntries(
      methods.map(({ name, tasks }) => [name, Object.fromEntries(Object.entries(tasks).map(([task, { score }]) => [task, score.value]))]),
    ),
  });
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values) =>
  Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / Math.max(1, values.length - 1));
const groups = Object.keys(Object.values(runs[0].methods)[0]);
const cell = (method, group) => {
  const values = runs.map((run) => 100 * run.methods[method][group]);
  return `${mean(values).toFixed(1)} ± ${deviation(values).toFixed(1)}`;
};
const rows = Object.keys(runs[0].methods).map((method) => `| ${method} | ${groups.map((group) => cell(method, group)).join(" | ")} |`);
const table = [`| exact match, % | ${groups.join(" | ")} |`, `| --- | ${groups.map(() => "---:").join(" | ")} |`, ...rows].join("\n");
await mkdir(path("results"), { recursive: true });
await writeFile(path("results/demo-seeds.json"), `${JSON.stringify({ seeds, runs }, null, 1)}\n`);
await writeFile(path("results/demo-seeds.md"), `Mean and standard deviation over seeds ${seeds.join(", ")}.\n\n${table}\n`);
console.log(table);
