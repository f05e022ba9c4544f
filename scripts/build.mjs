/** @file Builds src/ into dist/, and the playground of web/ into dist/web, when they are missing or were built from other sources. Uses only
 *  Node's own modules; the playground needs vite, a development dependency. Without it the server leads from / to its description.
 *
 *  dist/.stamp holds a hash of every source's name, size and time. It is written last, so an interrupted build does not count.
 *  A lock file lets one process build while others wait. Types are not checked here, so that unfinished edits can be run;
 *  `npm run check` checks them. */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");
const stamp = join(dist, ".stamp");
const pages = join(dist, "web");
const bundler = join(root, "node_modules", "vite", "bin", "vite.js");
const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
const lock = join(root, "node_modules", ".skein-build.lock");

/** Updates dist/ from src/. On failure it writes the reason to stderr and returns false. */
export async function buildIfStale({ force = false } = {}) {
  if (!force && isFresh() && arePagesFresh()) return true;
  if (!existsSync(compiler)) {
    if (existsSync(join(dist, "cli", "main.js"))) return true; // no compiler: use the existing build
    console.error("skein: not installed yet.\n  fix:   Run `npm ci` in this folder first.");
    return false;
  }
  await takeLock();
  try {
    return ((!force && isFresh()) || build()) && ((!force && arePagesFresh()) || buildPages());
  } finally {
    rmSync(lock, { force: true });
  }
}

function isFresh() {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === hashOf(sources());
}

function arePagesFresh() {
  const own = join(pages, ".stamp");
  return !canBuildPages() || (existsSync(own) && readFileSync(own, "utf8") === hashOf(pageSources()));
}

/** Every file the build depends on, relative to the root. */
function sources() {
  const found = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !/\.(test|test-helper|contract)\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  return [...found.sort(), join(root, "tsconfig.json"), join(root, "package.json")];
}

function canBuildPages() {
  return existsSync(bundler) && existsSync(join(root, "web"));
}

/** Files of the playground, and the look that it shares with reports. */
function pageSources() {
  const own = readdirSync(join(root, "web"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".md"))
    .map((entry) => join(entry.parentPath, entry.name));
  const shared = ["look", "curves", "html", "modules"].map((name) => join(root, "src", "evaluation", "report", `${name}.ts`));
  return [...own.sort(), ...shared];
}

function hashOf(files) {
  const hash = createHash("sha256");
  for (const file of files) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest("hex");
}

function build() {
  const hash = hashOf(sources()); // before compiling, so that an edit during the build counts as a change
  if (process.stderr.isTTY) console.error("skein: building...");
  rmSync(stamp, { force: true });
  const options = ["-p", join(root, "tsconfig.json"), "--noCheck"];
  const { status, stdout, stderr } = spawnSync(process.execPath, [compiler, ...options], { cwd: root, encoding: "utf8" });
  if (status !== 0) {
    console.error(`skein: the build failed.\n${stdout}${stderr}`);
    return false;
  }
  prune();
  writeFileSync(stamp, hash);
  return true;
}

/** The playground; where vite is not installed, whatever was built before stays. */
function buildPages() {
  if (!canBuildPages()) return true;
  const hash = hashOf(pageSources());
  const args = [bundler, "build", "--config", join(root, "web", "vite.config.ts"), "--logLevel", "warn"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  if (status !== 0) {
    console.error(`skein: the build of the playground failed.\n${stdout}${stderr}`);
    return false;
  }
  writeFileSync(join(pages, ".stamp"), hash);
  return true;
}

/** Removes the output of deleted sources. Other files are overwritten and not removed first, since a running program may still
 *  import them. */
function prune() {
  const known = new Set(sources().map((file) => relative(join(root, "src"), file).replace(/\.ts$/, "")));
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name);
    if (file.startsWith(pages)) continue;
    if (entry.isFile() && !known.has(relative(dist, file).replace(/\.(js|js\.map|d\.ts)$/, ""))) rmSync(file);
  }
}

/** Waits while another process builds. Takes over the lock of a process that has ended. */
async function takeLock() {
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (ownerIsGone()) rmSync(lock, { force: true });
    else await sleep(100);
  }
}

function ownerIsGone() {
  try {
    const text = readFileSync(lock, "utf8");
    if (text === "") return Date.now() - statSync(lock).mtimeMs > 5000; // created, but without its owner's process id
    process.kill(Number(text), 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  process.exitCode = (await buildIfStale({ force: true })) ? 0 : 1;
}
