/** @file Checks the number of lines per file: the aim is 150; above 250 is a warning, above 400 an error. */

import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [WARN, FAIL] = [250, 400];

/** Files that may be longer, with the reason. */
const EXCEPTIONS = {
  "src/graph/onnx/onnx_pb.ts": "generated from onnx.proto",
};

const sizes = ["src", "web", "scripts", "bin", "bench", "examples", "tests"].flatMap(filesOf).map((file) => ({
  file: relative(root, file).split(sep).join("/"),
  lines: readFileSync(file, "utf8").split("\n").length - 1,
}));
const counted = sizes.filter(({ file }) => !Object.hasOwn(EXCEPTIONS, file));
const long = counted.filter(({ lines }) => lines > WARN).sort((a, b) => b.lines - a.lines);
for (const { file, lines } of long) console.log(`${lines > FAIL ? "error  " : "warning"} ${String(lines).padStart(4)} lines  ${file}`);
const total = counted.reduce((sum, { lines }) => sum + lines, 0);
const product = counted.filter(({ file }) => file.startsWith("src/") && !file.endsWith(".test.ts"));
const median = product.map(({ lines }) => lines).sort((a, b) => a - b)[Math.floor(product.length / 2)];
console.log(`${counted.length} files, ${total} lines; median of src/ ${median}.`);
process.exitCode = long.some(({ lines }) => lines > FAIL) ? 1 : 0;

function filesOf(folder) {
  try {
    return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(ts|tsx|mjs|js)$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return []; // a folder that does not exist has no files
  }
}
