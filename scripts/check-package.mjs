/** @file The package as its users get it: publint, then `npm pack`, unpacked in a temporary folder with the dependencies that
 *  package.json names (and no others), type-checked and run from there. Nothing is fetched. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const { messages } = await publint({ pkgDir: root, strict: true, pack: "npm" });
for (const message of messages) console.log(`${message.type}: ${formatMessage(message, manifest)}`);
if (messages.some(({ type }) => type === "error")) process.exit(1);

const folder = mkdtempSync(join(tmpdir(), "skein-consumer-"));
try {
  unpack();
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  consume();
  console.log(`${manifest.name} ${manifest.version} packs, type-checks under nodenext, imports and runs.`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The packed package in node_modules/, its declared dependencies linked beside it. */
function unpack() {
  const packed = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: root, encoding: "utf8" });
  const [{ filename }] = JSON.parse(packed);
  const home = join(folder, "node_modules", manifest.name);
  mkdirSync(home, { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, filename), "-C", home, "--strip-components=1"]);
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(home, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, "node_modules", name), link, "junction");
  }
}

function consume() {
  writeFileSync(
    join(folder, "consumer.ts"),
    `import { loadModel, type ForwardResult, UserError } from "${manifest.name}";
     export async function vocabulary(base: string): Promise<number | undefined> {
       await using model = await loadModel(base);
       const result: ForwardResult = await model.forward({ inputIds: { dtype: "int64", shape: [1, 1], data: new BigInt64Array(1) } });
       return result.logits.shape.at(-1);
     }
     console.log(typeof loadModel, typeof UserError);`,
  );
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
  expectOutput(node(["consumer.js"]), "function function");
  expectOutput(node([join("node_modules", manifest.name, "bin", "skein.js"), "--version"]), manifest.version);
}

function expectOutput(got, expected) {
  if (got.trim() !== expected) throw new Error(`expected "${expected}", got "${got.trim()}"`);
}
