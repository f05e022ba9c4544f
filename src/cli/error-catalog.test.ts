import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type CodeEntry, ERROR_CODES } from "../base/error-codes.ts";
import { COMMANDS } from "./command-list.ts";
import { onCommandLine } from "./remedies.ts";

const SOURCE = fileURLToPath(new URL("..", import.meta.url));
const CATALOG = fileURLToPath(new URL("../../docs/errors.md", import.meta.url));

const FILES = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !/\.test\.|\.test-helper\.|\.contract\./.test(name))
  .map((name) => ({ name, text: readFileSync(join(SOURCE, name), "utf8") }));

/** Names of UserError and of every class that extends it, in src/. */
function errorClasses(): string[] {
  const below = FILES.flatMap(({ text }) => [...text.matchAll(/class (\w+) extends (?:taking<|UserError)/g)].map(([, name]) => name!));
  return ["UserError", ...below];
}

/** The table of codes as docs/errors.md holds it. */
function codeTable(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, { kind, about, fields }]: [string, CodeEntry]) => {
    return `| \`${code}\` | ${kind} | ${about} | ${fields.map((field) => `\`${field}\``).join(", ")} |`;
  });
  return ["| code | kind | what went wrong | data |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

test("docs/errors.md lists every error class, and no other", () => {
  const listed = [...readFileSync(CATALOG, "utf8").matchAll(/^\| `(\w+Error)`/gm)].map(([, name]) => name!);
  expect(listed.sort()).toEqual(errorClasses().sort());
});

test("docs/errors.md lists every code as the table has it (UPDATE_GOLDEN=1 writes it)", () => {
  const text = readFileSync(CATALOG, "utf8");
  const [, begin, old, end] = /^([\s\S]*<!-- codes -->\n)([\s\S]*?)(\n<!-- end of codes -->[\s\S]*)$/.exec(text)!;
  if (process.env.UPDATE_GOLDEN) writeFileSync(CATALOG, `${begin}${codeTable()}${end}`);
  else expect(old).toBe(codeTable());
});

test("codes are in kebab-case, and each is thrown somewhere", () => {
  const sources = FILES.filter(({ name }) => name !== "base/error-codes.ts" && name !== "cli/remedies.ts");
  const all = sources.map(({ text }) => text).join("\n");
  const codes = Object.keys(ERROR_CODES);
  for (const code of codes) expect(code).toMatch(/^[a-z]+(-[a-z0-9]+)*$/);
  expect(codes.filter((code) => !all.includes(`"${code}"`) && !all.includes(`code: ${code}`))).toEqual([]);
});

test("below the command line no text speaks of its flags or commands", () => {
  const names = COMMANDS.map(({ name }) => name).join("|");
  const flag = /(?:^|[\s"'`]|(?<!var)\()--[a-z][a-z-]*(?=[\s"'`.,;)]|$)/;
  const command = new RegExp(`\\bskein (?:${names})\\b`);
  // A card on the Hub shows people the commands that use it.
  const below = FILES.filter(({ name }) => !name.startsWith("cli/") && name !== "sharing/hub-card.ts");
  const lines = below.flatMap(({ name, text }) => text.split("\n").map((line, i) => ({ at: `${name}:${i + 1}`, line })));
  const found = lines.filter(({ line }) => !OTHER_PROGRAMS.test(line) && (flag.test(line) || command.test(line)));
  expect(found).toEqual([]);
});

// Lines that show how to use somebody else's program.
const OTHER_PROGRAMS = /huggingface-cli|npm install|mlx_lm/;

test("commands that do not exist are named nowhere", () => {
  const known = new Set(COMMANDS.map(({ name }) => name));
  const named = FILES.flatMap(({ name, text }) =>
    [...text.matchAll(/(?:`|\$ |: |with |by )skein ([a-z]+)/g)].map(([, command]) => ({ at: name, command: command! })),
  );
  expect(named.filter(({ command }) => !known.has(command))).toEqual([]);
});

test("the command line says remedies and places in flags", () => {
  const data = { pool: "p", expert: "e" };
  const missing = { code: "pool-expert-missing" as const, data, what: "", fix: "Take it out with removeExpert." };
  expect(onCommandLine(missing).fix).toContain("skein pool remove");
  const range = { option: "sweepPool", expected: 1, got: 2 };
  expect(onCommandLine({ code: "option-out-of-range", data: range, what: "", where: "sweepPool", fix: "" }).where).toBe("--sweep-pool");
});
