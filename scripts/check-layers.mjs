/** @file Checks every import of src/ against the layers. Type-only imports count; tests may import anything.
 *
 *  1. A folder imports only from itself and from folders above it in LAYERS.
 *  2. No files import each other in a circle.
 *  3. External packages are pinned to the folders in PINNED, so that each engine, parser and client can be replaced in one place.
 *
 *  `node scripts/check-layers.mjs [root]`: root is the folder with src/ and package.json, by default this repository. */

import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));
const source = join(root, "src");

const LAYERS = [
  "base",
  "graph",
  "autodiff",
  "runtime",
  "checkpoint",
  "pickle",
  "hub",
  "text",
  "data",
  "models",
  "adapters",
  "routing",
  "storage",
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
/** For each file the files of src/ that it imports. */
const graph = new Map();

for (const file of sources()) {
  const place = placeOf(file);
  const imports = importsOf(file);
  const folder = folderOf(place);
  if (folder !== undefined && !LAYERS.includes(folder)) {
    problems.push(`src/${place}: folder "${folder}" is in no layer; add it to LAYERS in scripts/check-layers.mjs.`);
    continue;
  }
  for (const target of imports) {
    const problem = target.startsWith(".") ? layerProblem(place, target) : packageProblem(place, target);
    if (problem) problems.push(`src/${place}: ${problem}`);
  }
  const own = imports.filter((target) => target.startsWith(".")).map((target) => resolvedImport(place, target));
  graph.set(place, [...new Set(own)].sort());
}
for (const circle of circles(graph)) {
  const path = [...circle, circle[0]].map((place) => `src/${place}`).join(" -> ");
  problems.push(`${path}: these files import each other in a circle; move what they share, often an interface, to a file of its own.`);
}
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? "Layers hold." : `${problems.length} ${problems.length === 1 ? "problem" : "problems"} with imports.`);
process.exitCode = problems.length === 0 ? 0 : 1;

function sources() {
  return readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !TEST.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function importsOf(file) {
  return [...withoutComments(readFileSync(file, "utf8")).matchAll(IMPORT)].map(([, target]) => target);
}

/** A file's path from src/, with forward slashes. */
function placeOf(file) {
  return relative(source, file).split(sep).join("/");
}

/** What a relative import of the file at `place` leads to, as a path from src/. */
function resolvedImport(place, target) {
  return placeOf(join(source, dirname(place), target));
}

/** The top folder of a place; undefined for files directly in src/. */
function folderOf(place) {
  return place.includes("/") ? place.slice(0, place.indexOf("/")) : undefined;
}

/** An import written in a comment's example imports nothing. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function layerProblem(place, target) {
  const path = resolvedImport(place, target);
  const folder = folderOf(place);
  if (path.startsWith("../")) return `imports ${target}, outside src/.`;
  if (folder === undefined) return undefined; // the public entry shows everything
  const other = folderOf(path) ?? "the public entry";
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

/** One circle, as short as can be, for each group of files that reach each other. */
function circles(imports) {
  const found = [];
  const settled = new Set();
  for (const start of imports.keys()) {
    if (settled.has(start)) continue;
    const circle = shortestWayBack(start, imports);
    if (!circle) continue;
    found.push(circle);
    for (const place of reachable(start, imports)) if (reachable(place, imports).has(start)) settled.add(place);
  }
  return found;
}

/** The files of the shortest way from `start` to itself, breadth first; undefined when there is none. */
function shortestWayBack(start, imports) {
  const cameFrom = new Map();
  const queue = [start];
  for (const place of queue) {
    for (const next of imports.get(place) ?? []) {
      if (next === start) {
        const way = [place];
        while (way[0] !== start) way.unshift(cameFrom.get(way[0]));
        return way;
      }
      if (cameFrom.has(next)) continue;
      cameFrom.set(next, place);
      queue.push(next);
    }
  }
  return undefined;
}

function reachable(start, imports) {
  const seen = new Set([start]);
  for (const place of seen) for (const next of imports.get(place) ?? []) seen.add(next);
  return seen;
}
