/** @file Sets up a fresh clone: installs what is missing, builds, then runs `check` or `demo`.
 *
 *      node scripts/setup.mjs check | demo [options passed on]
 *
 *  It uses only Node's own modules, since nothing may be installed yet. The only network access is npm's registry. */

import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const THINGS = { check: ["scripts/check.mjs"], demo: ["bin/skein.js", "demo"] };

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node ${process.versions.node} is too old.\n  fix:   Install Node 20.19 or newer.`);
}
const [name, ...options] = process.argv.slice(2);
if (!Object.hasOwn(THINGS, name ?? "")) {
  fail(`setup: no thing called "${name ?? ""}".\n  fix:   node scripts/setup.mjs ${Object.keys(THINGS).join(" | ")}`);
}
if (isStale()) run("Installing from the npm registry", npm(), ["ci"], { shell: process.platform === "win32" });
run("Building", process.execPath, ["scripts/build.mjs"]);
const [script, ...fixed] = THINGS[name];
process.exitCode = spawnSync(process.execPath, [script, ...fixed, ...options], { cwd: root, stdio: "inherit" }).status ?? 1;

/** npm writes node_modules/.package-lock.json when an install is complete. */
function isStale() {
  const installed = join(root, "node_modules", ".package-lock.json");
  return !existsSync(installed) || statSync(installed).mtimeMs < statSync(join(root, "package-lock.json")).mtimeMs;
}

function npm() {
  return process.platform === "win32" ? "npm.cmd" : "npm";
}

function run(what, command, args, extra = {}) {
  console.log(`${what}: ${command === process.execPath ? "node" : command} ${args.join(" ")}`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", ...extra });
  if (status !== 0) fail(`${what} failed${error ? `: ${error.message}` : ""}.`);
}

function fail(text) {
  console.error(text);
  process.exit(1);
}
