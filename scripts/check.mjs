/** @file All checks: format and lint, types, layers, sizes, build, tests, package. CI runs the same.
 *
 *  It works offline, on the CPU, and runs a short part on WebGPU if the machine has it. It stops at the first step that fails. The last
 *  line counts tests and steps: "N passed, N failed". */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "skein-check-"));
const report = join(folder, "tests.json");
const binary = (name, path) => join(root, "node_modules", name, ...path.split("/"));

const STEPS = [
  { name: "format and lint", args: [binary("@biomejs/biome", "bin/biome"), "check", "--error-on-warnings", "."] },
  { name: "types", args: [binary("typescript", "bin/tsc"), "-p", "tsconfig.test.json"] },
  { name: "types of the playground and its tests", args: [binary("typescript", "bin/tsc"), "-p", "web"] },
  { name: "layers", args: ["scripts/check-layers.mjs"] },
  { name: "sizes", args: ["scripts/sizes.mjs"] },
  { name: "build", args: ["scripts/build.mjs"] },
  { name: "tests", args: [binary("vitest", "vitest.mjs"), "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`] },
  { name: "webgpu, a short part", args: ["scripts/check-webgpu.mjs", "--short"] },
  { name: "package", args: ["scripts/check-package.mjs"] },
];

let [passed, failed, skipped] = [0, 0, 0];
for (const { name, args } of STEPS) {
  console.log(`\n== ${name}`);
  const start = performance.now();
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  console.log(`-- ${name}: ${status === 0 ? "passed" : "FAILED"} in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  if (name === "tests") countTests(status);
  else if (status === 0) passed++;
  else failed++;
  if (status !== 0) break;
}
rmSync(folder, { recursive: true, force: true });
console.log(`\n${skipped > 0 ? `${skipped} tests were skipped; each says why.\n` : ""}${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function countTests(status) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites } = JSON.parse(readFileSync(report, "utf8"));
    passed += numPassedTests;
    failed += numFailedTests || (status === 0 ? 0 : Math.max(1, numFailedTestSuites));
    skipped += numPendingTests;
  } catch {
    failed++; // no report: the test runner itself failed
  }
}
