/** @file Checks every import of src/ against the layers. Type-only imports count, except in point 5; tests may import anything.
 *
 *  1. A folder imports only from itself and from folders above it in LAYERS; so do the folders inside a folder of SUBLAYERS.
 *  2. No files import each other in a circle.
 *  3. External packages are pinned to the folders in PINNED, so that each engine, parser and client can be replaced in one place.
 *  4. Nothing imports the public entries, index.ts and entries/. No other file is a barrel file, which only re-exports.
 *  5. The folders in CORE run without Node: neither their files nor the files they load use its modules and globals. Only the
 *     files in LOADERS read from the disk.
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
  "quantization",
  "adapters",
  "routing",
  "storage",
  "inference",
  "methods",
  "generation",
  "training",
  "evaluation",
  "sharing",
  "library",
  "demo",
  "fleet",
  "studies",
  "entries",
  "doctor",
  "server",
  "cli",
];

/** One file for each subpath of the package. */
const ENTRIES = "entries";

/** The order inside a folder of several layers. */
const SUBLAYERS = { evaluation: ["metrics", "tasks", "scoring", "comparison", "report"] };

/** Packages that only these folders and files may import; the dependencies not listed here are free for all. */
const PINNED = {
  "onnxruntime-node": ["runtime/onnxruntime/library.ts"],
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
  hono: ["server"],
  "@hono/node-server": ["server"],
  "@hono/zod-openapi": ["server/http"],
  "prom-client": ["server/http/metrics.ts"],
  pino: ["server/log.ts"],
  "@mlc-ai/web-xgrammar": ["server/grammar.ts"],
  bullmq: ["fleet/queue"],
  ioredis: ["fleet/queue/connection.ts"],
  pg: ["fleet/queue/connection.ts"],
  "@aws-sdk/client-s3": ["fleet/store/s3-store.ts"],
};

/** Folders that a browser can run. */
const CORE = ["base", "graph", "autodiff", "text", "models", "adapters", "routing", "generation"];
/** Files in these folders that use Node, because they read from the disk. */
const LOADERS = ["text/load-tokenizer.ts"];
const NODE_GLOBALS = /\bBuffer\b|\bprocess\.\w+|\bsetImmediate\b|\b__(?:dirname|filename)\b|\bimport\.meta\.(?:dirname|filename)\b/;

const TEST = /\.(test|test-helper|contract)\.ts$/;
const IMPORT = /\b(?:import|export)(\s+type)?\b[^"';]*?\bfrom\s+"([^"]+)"|\bimport\s*\(\s*"([^"]+)"|\bimport\s+"([^"]+)"/g;
const { dependencies: always, optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const dependencies = { ...always, ...optionalDependencies };
const problems = [];
/** For each file: its code without comments, and what it imports. */
const files = new Map(sources().map((file) => [placeOf(file), parsed(readFileSync(file, "utf8"))]));
const loads = importGraph(({ isType }) => !isType);

for (const [place, { imports }] of files) {
  const folder = folderOf(place);
  if (folder !== undefined && !LAYERS.includes(folder)) {
    problems.push(`src/${place}: folder "${folder}" is in no layer; add it to LAYERS in scripts/check-layers.mjs.`);
    continue;
  }
  for (const { target } of imports) {
    const problem = target.startsWith(".") ? layerProblem(place, target) : packageProblem(place, target);
    if (problem) problems.push(`src/${place}: ${problem}`);
  }
  for (const problem of [barrelProblem(place), nodeProblem(place)]) if (problem) problems.push(`src/${place}: ${problem}`);
}
for (const circle of circles(importGraph(() => true))) {
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

/** The code without comments: an import in a comment's example does not count. */
function parsed(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const imports = [...code.matchAll(IMPORT)].map(([, type, from, dynamic, bare]) => ({
    target: from ?? dynamic ?? bare,
    isType: type !== undefined,
  }));
  return { code, imports };
}

/** A file's path from src/, with forward slashes. */
function placeOf(file) {
  return relative(source, file).split(sep).join("/");
}

/** The target of a relative import in the file at `place`, as a path from src/. */
function resolvedImport(place, target) {
  return placeOf(join(source, dirname(place), target));
}

/** The top folder of a place; undefined for files directly in src/. */
function folderOf(place) {
  return place.includes("/") ? place.slice(0, place.indexOf("/")) : undefined;
}

/** Which files of src/ each file imports, in imports that `counts`. */
function importGraph(counts) {
  const own = ([place, { imports }]) => {
    const relatives = imports.filter((one) => one.target.startsWith(".") && counts(one));
    return [place, [...new Set(relatives.map(({ target }) => resolvedImport(place, target)))].sort()];
  };
  return new Map([...files].map(own));
}

function layerProblem(place, target) {
  const path = resolvedImport(place, target);
  const folder = folderOf(place);
  if (path.startsWith("../")) return `imports ${target}, outside src/.`;
  if (folder === undefined) return undefined; // the public entry shows everything
  const other = folderOf(path) ?? "the public entry";
  if (other === ENTRIES) return `imports ${target}, a public entry; import the file that has what it shows.`;
  if (other === folder) return sublayerProblem(folder, place.slice(folder.length + 1), path.slice(folder.length + 1), target);
  if (LAYERS.includes(other) && LAYERS.indexOf(other) < LAYERS.indexOf(folder)) return undefined;
  return `layer "${folder}" imports ${target} of "${other}", which is below it; only layers above may be imported.`;
}

function sublayerProblem(folder, place, path, target) {
  const order = SUBLAYERS[folder];
  if (!order) return undefined;
  const [own, other] = [place, path].map((inside) => order.indexOf(folderOf(inside)));
  if (own < 0) return `is in no layer of ${folder}/; add its folder to SUBLAYERS in scripts/check-layers.mjs.`;
  if (other <= own) return undefined;
  return `layer "${folder}/${order[own]}" imports ${target} of "${folder}/${order[other]}", which is below it; only layers above may be imported.`;
}

function packageProblem(place, target) {
  if (target.startsWith("node:")) return undefined;
  if (builtinModules.includes(target)) return `write "node:${target}".`;
  const name = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  if (!Object.hasOwn(dependencies, name)) return `imports "${name}", which is not among package.json's dependencies.`;
  const places = PINNED[name];
  if (!places || places.some((allowed) => place === allowed || place.startsWith(`${allowed}/`))) return undefined;
  return `imports "${name}", which only src/${places.join(" and src/")} may.`;
}

/** Finds files that only re-export; they are allowed only as public entries, since they hide where things are. */
function barrelProblem(place) {
  const { code } = files.get(place);
  const isBarrel = /\bfrom\s+"/.test(code) && code.replace(/\bexport\b[^"';]*?\bfrom\s+"[^"]+";?/g, "").trim() === "";
  if (!isBarrel || folderOf(place) === undefined || folderOf(place) === ENTRIES) return undefined;
  return "only re-exports what other files have; import those, or make it a public entry in src/entries/.";
}

/** The use of Node in a core file, or in the files that it loads. */
function nodeProblem(place) {
  const folder = folderOf(place);
  if (!CORE.includes(folder) || LOADERS.includes(place)) return undefined;
  const remedy = "the core runs in browsers too; leave reading files to storage/, checkpoint/ or a file in LOADERS.";
  const own = nodeUse(place);
  if (own !== undefined) return `uses ${own}: ${remedy}`;
  const way = waysFrom(place, loads).find((path) => nodeUse(path.at(-1)) !== undefined);
  return way && `loads ${way.map((step) => `src/${step}`).join(" -> ")}, which uses ${nodeUse(way.at(-1))}: ${remedy}`;
}

function nodeUse(place) {
  const { code = "", imports = [] } = files.get(place) ?? {};
  const module = imports.find(({ target }) => target.startsWith("node:"));
  if (module) return module.target;
  const [name] = NODE_GLOBALS.exec(code) ?? [];
  return name !== undefined && !new RegExp(`\\b(?:interface|type|class|const|function) ${name}\\b`).test(code) ? name : undefined;
}

/** The shortest ways from `start` to each file that it reaches, nearest first. */
function waysFrom(start, imports) {
  const ways = new Map([[start, []]]);
  for (const [place, way] of ways) for (const next of imports.get(place) ?? []) if (!ways.has(next)) ways.set(next, [...way, next]);
  return [...ways.values()].slice(1);
}

/** One shortest circle for each group of files that reach each other. */
function circles(imports) {
  const found = [];
  const settled = new Set();
  for (const start of imports.keys()) {
    if (settled.has(start)) continue;
    const circle = wayBack(start, imports);
    if (!circle) continue;
    found.push(circle);
    const reached = waysFrom(start, imports).map((way) => way.at(-1));
    for (const place of reached) if (waysFrom(place, imports).some((way) => way.at(-1) === start)) settled.add(place);
  }
  return found;
}

/** The files of the shortest circle through `start`; undefined when there is none. */
function wayBack(start, imports) {
  if (imports.get(start).includes(start)) return [start];
  const way = waysFrom(start, imports).find((path) => imports.get(path.at(-1))?.includes(start));
  return way && [start, ...way];
}
