/** @file Checks the package as users install it: publint, then `npm pack`, and the README's install command in an empty folder. There
 *  it type-checks and imports the package and generates text. If npm's registry cannot be reached, it links the dependencies of
 *  this checkout instead, and the output says so. */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const PROGRAM = `import { loadModel, type ForwardResult, UserError } from "${manifest.name}";
  import { exactMatch } from "${manifest.name}/metrics";
  import { loadAdapter, type LoraAdapter } from "${manifest.name}/peft";
  export const kind: LoraAdapter["kind"] = "lora";
  export async function vocabulary(base: string): Promise<number | undefined> {
    await using model = await loadModel(base);
    const result: ForwardResult = await model.forward({ inputIds: { dtype: "int64", shape: [1, 1], data: new BigInt64Array(1) } });
    return result.logits.shape.at(-1);
  }
  console.log(typeof loadModel, typeof UserError, typeof loadAdapter, exactMatch(["a", "b"], ["a", "c"]));`;

const { messages } = await publint({ pkgDir: root, strict: true, pack: "npm" });
for (const message of messages) console.log(`${message.type}: ${formatMessage(message, manifest)}`);
if (messages.some(({ type }) => type === "error")) process.exit(1);

const folder = mkdtempSync(join(tmpdir(), "skein-consumer-"));
try {
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  install();
  consume();
  console.log(`${manifest.name} ${manifest.version} packs, installs, type-checks under nodenext, imports and generates.`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** `ONNXRUNTIME_NODE_INSTALL=skip npm install skein`, with the packed file in the place of the name. */
function install() {
  const packed = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: root, encoding: "utf8" });
  const archive = join(folder, JSON.parse(packed)[0].filename);
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const args = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries", "0", archive];
  const { status, stderr } = spawnSync("npm", args, { cwd: folder, env, encoding: "utf8", shell: process.platform === "win32" });
  if (status === 0) return;
  const isOffline = /ENOTFOUND|ECONNREFUSED|ENOTCACHED|ETIMEDOUT|EAI_AGAIN|ENETUNREACH/.test(stderr);
  if (!isOffline) throw new Error(`npm install of the packed file failed:\n${stderr}`);
  console.log("npm's registry cannot be reached: the dependencies of this checkout are linked, not installed.");
  link(archive);
}

/** The packed package in node_modules/, its declared dependencies linked beside it. */
function link(archive) {
  const home = join(folder, "node_modules", manifest.name);
  rmSync(join(folder, "node_modules"), { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  execFileSync("tar", ["-xzf", archive, "-C", home, "--strip-components=1"]);
  for (const name of Object.keys(manifest.dependencies)) {
    const path = join(home, "node_modules", name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(join(root, "node_modules", name), path, "junction");
  }
}

function consume() {
  writeFileSync(join(folder, "consumer.ts"), PROGRAM);
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const options = ["--module", "nodenext", "--target", "es2022", "--strict", "--lib", "es2023,esnext.disposable", "--types", "node"];
  const typeRoots = ["--typeRoots", join(root, "node_modules", "@types")];
  const node = (args) => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  try {
    node([compiler, ...options, ...typeRoots, "--skipLibCheck", "consumer.ts"]);
  } catch (error) {
    console.error(error.stdout);
    throw error;
  }
  const skein = join("node_modules", manifest.name);
  const command = join(skein, "bin", "skein.js");
  expectOutput(node(["consumer.js"]), "function function function 0.5");
  const subpaths = Object.keys(manifest.exports).filter((path) => path !== "./package.json");
  const names = subpaths.map((path) => manifest.name + path.slice(1));
  const load = `for (const name of ${JSON.stringify(names)}) if (Object.keys(await import(name)).length === 0) throw new Error(name);`;
  node(["--input-type=module", "--eval", load]);
  expectOutput(node([command, "--version"]), manifest.version);
  const answer = node([
    command,
    "generate",
    "opposite : 1. hot 2. big",
    "--base",
    join(skein, "assets", "demo-base"),
    "--temperature",
    "0",
  ]);
  expectOutput(answer, "1. cold 2. small");
}

function expectOutput(got, expected) {
  if (got.trim() !== expected) throw new Error(`expected "${expected}", got "${got.trim()}"`);
}
