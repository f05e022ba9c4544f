import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type CodeEntry, ERROR_CODES } from "../base/error-codes.ts";

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

test("codes are in kebab-case", () => {
  for (const code of Object.keys(ERROR_CODES)) expect(code).toMatch(/^[a-z]+(-[a-z0-9]+)*$/);
});
