/** @file Holds every import to the layers: a folder of src/ imports only from itself and from folders above it in LAYERS.
 *
 *  Type-only imports count. Tests may import anything. External packages are pinned to the folders in PINNED, so that each
 *  engine, parser and client can be replaced in one place. */

import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = join(root, "src");

const LAYERS = [
  "base",
  "graph",
  "autodiff",
  "runtime",
  "checkpoint",
  "hub",
  "text",
  "data",
  "models",
  "adapters",
  "routing",
  "inference",
  "generation",
  "training",
  "evaluation",
  "library",
  "demo",
  "studies",
  "fleet",
  "server",
  "cli",
];

/** Packages that only these folders and files may import; the dependencies not listed here are free for all. */
const PINNED = {
  "onnxruntime-node": ["runtime/onnxruntime-node.ts"],
  "@bufbuild/protobuf": ["graph"],
  "@petamoriken/float16": ["checkpoint"],
  "@huggingface/hub": ["hub"],
  "@huggingface/tokenizers": ["text"],
  "@huggingface/jinja": ["text", "evaluation/tasks"],
  "csv-parse": ["data"],
  "ml-matrix": ["adapters"],
  hyparquet: ["data"],
  "hyparquet-compressors": ["data"],
  commander: ["cli"],
};

const TEST = /\.(test|test-helper|contract)\.ts$/;
const IMPORT = /(?:\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)"([^"]+)"/g;
const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const problems = [];

for (const file of sources()) {
  const place = relative(source, file).split(sep).join("/");
  const folder = place.includes("/") ? place.slice(0, place.indexOf("/")) : undefined;
  if (folder !== undefined && !LAYERS.includes(folder)) {
    problems.push(`src/${place}: folder "${folder}" is in no layer; add it to LAYERS in scripts/check-layers.mjs.`);
    continue;
  }
  for (const [, target] of withoutComments(readFileSync(file, "utf8")).matchAll(IMPORT)) {
    const problem = target.startsWith(".") ? relativeProblem(file, folder, target) : packageProblem(place, target);
    if (problem) problems.push(`src/${place}: ${problem}`);
  }
}
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? "Layers hold." : `${problems.length} imports break the layers.`);
process.exitCode = problems.length === 0 ? 0 : 1;

function sources() {
  return readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !TEST.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** An import written in a comment's example imports nothing. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function relativeProblem(file, folder, target) {
  const path = relative(source, join(dirname(file), target))
    .split(sep)
    .join("/");
  if (path.startsWith("../")) return `imports ${target}, outside src/.`;
  if (folder === undefined) return undefined; // the public entry shows everything
  const other = path.includes("/") ? path.slice(0, path.indexOf("/")) : "the public entry";
  if (other === folder || (LAYERS.includes(other) && LAYERS.indexOf(other) < LAYERS.indexOf(folder))) return undefined;
  return `layer "${folder}" imports ${target} of "${other}", which is below it; only layers above may be imported.`;
}

function packageProblem(place, target) {
  if (target.startsWith("node:")) return undefined;
  if (builtinModules.includes(target)) return `write "node:${target}".`;
  const name = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  if (!Object.hasOwn(dependencies, name)) return `imports "${name}", which is not among package.json's dependencies.`;
  const folders = PINNED[name];
  if (!folders || folders.some((folder) => place === folder || place.startsWith(`${folder}/`))) return undefined;
  return `imports "${name}", which only src/${folders.join(" and src/")} may.`;
}
