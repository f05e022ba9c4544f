import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { skein } from "./captured-io.test-helper.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = fileURLToPath(new URL("../../bin/skein.js", import.meta.url));

/** Commands that run without files here, and those that ask the Hub first. */
const NEEDS_NO_FILES = /^(demo|methods|cache|doctor|pull|search)\b/;

/** Every command line that ends in a command, as --help lists them. */
async function commands(...path: string[]): Promise<string[][]> {
  const { out } = await skein(...path, "--help");
  const section = out.split("Commands:\n")[1];
  if (section === undefined) return [path];
  const names = [...section.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name!);
  return (await Promise.all(names.map((name) => commands(...path, name)))).flat();
}

test("every command has help with a summary, --json and an example that names it", async () => {
  const all = await commands();
  expect(all.length).toBeGreaterThan(5);
  for (const command of all) {
    const { code, out } = await skein(...command, "--help");
    expect(code).toBe(0);
    expect(out).toContain("--json");
    expect(out).toContain(`$ skein ${command.join(" ")}`);
  }
});

describe("a command line that is shown is understood: it fails only for want of its files", () => {
  beforeAll(() => vi.stubEnv("HF_HUB_OFFLINE", "1")); // "models/t5" could be a name on the hub
  afterAll(() => vi.unstubAllEnvs());

  async function expectUnderstood(line: string): Promise<void> {
    const words = [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, plain]) => double ?? single ?? plain!);
    const { code, err } = await skein(...words);
    expect({ line, code, err }).toEqual({ line, code: 1, err: expect.stringMatching(/^(Checkpoint|Data|Pool|Adapter|Training)Error: /) });
  }

  test("in every command's help", async () => {
    for (const command of await commands()) {
      if (NEEDS_NO_FILES.test(command[0]!)) continue; // it would run
      const { out } = await skein(...command, "--help");
      for (const [, example] of out.matchAll(/^ {2}\$ skein (.+)$/gm)) await expectUnderstood(example!);
    }
  });

  test.each(["README.md", ...readdirSync(`${ROOT}/docs/guide`).map((name) => `docs/guide/${name}`)])("in %s", async (page) => {
    for (const line of shellLines(readFileSync(`${ROOT}/${page}`, "utf8"))) {
      if (!NEEDS_NO_FILES.test(line) && !line.includes("...")) await expectUnderstood(line);
    }
  });
});

/** What stands behind `skein` in the lines of a page's code blocks, without comments, continued lines joined. */
function shellLines(page: string): string[] {
  const blocks = [...page.matchAll(/^```(?:sh)?\n(.*?)^```/gms)].map(([, block]) => block!.replaceAll("\\\n", " "));
  return blocks.flatMap((block) => [...block.matchAll(/^(?:npx )?skein (.*?)(?: +&)?(?: +#.*)?$/gm)].map(([, line]) => line!));
}

test("options behind demo moa are its own", async () => {
  const { code, err } = await skein("demo", "moa", "--out", fileURLToPath(import.meta.url));
  expect(err).toContain("main.test.ts");
  expect(code).toBe(1);
});

test("a mistyped command or option exits with 1 and points to what was meant", async () => {
  const command = await skein("foward");
  expect(command).toMatchObject({ code: 1, out: "" });
  expect(command.err).toContain("forward");
  const option = await skein("check", "x", "--bas", "y");
  expect(option).toMatchObject({ code: 1, out: "" });
  expect(option.err).toContain("--base");
});

test("errors are printed as what, where and fix, or as one JSON line", async () => {
  const people = await skein("pool", "list", "/no/such/pool");
  expect(people).toMatchObject({ code: 1, out: "" });
  expect(people.err).toBe(
    "PoolError: There is no pool here: pool.json is missing.\n  where: /no/such/pool\n  fix:   Make one with: skein pool create.\n",
  );
  const machines = await skein("pool", "list", "/no/such/pool", "--json");
  expect(JSON.parse(machines.err)).toEqual({
    error: {
      name: "PoolError",
      code: "pool-not-found",
      data: { pool: "/no/such/pool" },
      what: "There is no pool here: pool.json is missing.",
      where: "/no/such/pool",
      fix: "Make one with: skein pool create.",
    },
  });
  const usage = await skein("check", "x", "--bas", "y", "--json");
  expect(usage).toMatchObject({ code: 1, out: "" });
  expect(JSON.parse(usage.err).error).toMatchObject({ name: "OptionError", what: expect.stringContaining("--base") });
});

test("score reads a file of predictions", async () => {
  const folder = await mkdtemp(join(tmpdir(), "skein-score-"));
  const file = join(folder, "predictions.jsonl");
  await writeFile(file, '{"prediction": "a cat", "references": "a cat"}\n{"prediction": "a cat", "references": ["a dog", "no"]}\n');
  const { out } = await skein("score", file, "--metrics", "exact_match,rouge1", "--json");
  expect(JSON.parse(out)).toEqual({ corpus: { exact_match: 0.5, rouge1: 0.75 } });
  expect((await skein("score", file, "--metrics", "rouge9")).err).toContain("Expected one of rouge1");
  await rm(folder, { recursive: true });
});

test("the bin runs from a checkout and passes exit codes on", async () => {
  const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  const run = promisify(execFile);
  expect((await run(process.execPath, [BIN, "--version"])).stdout).toBe(`${version}\n`);
  await expect(run(process.execPath, [BIN, "pool", "list", "/no/such/pool"])).rejects.toMatchObject({ code: 1, stdout: "" });
});
