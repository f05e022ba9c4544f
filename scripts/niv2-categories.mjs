/** @file Writes the groups of recipes/pools/flan.yaml: for each category of Natural Instructions the tasks in it.
 *
 *    node scripts/niv2-categories.mjs natural-instructions/tasks niv2-categories.json
 *
 *  The folder is that of github.com/allenai/natural-instructions: one JSON file a task, with its Categories. */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const [folder, out] = process.argv.slice(2);
if (!folder || !out) throw new Error("usage: node scripts/niv2-categories.mjs natural-instructions/tasks niv2-categories.json");
const groups = {};
for (const name of readdirSync(folder).sort()) {
  if (!/^task\d+.*\.json$/.test(name)) continue;
  const { Categories: categories = [] } = JSON.parse(readFileSync(join(folder, name), "utf8"));
  for (const category of categories) groups[category] = [...(groups[category] ?? []), basename(name, ".json")];
}
writeFileSync(out, `${JSON.stringify(groups, null, 2)}\n`);
console.log(`${Object.keys(groups).length} categories`);
