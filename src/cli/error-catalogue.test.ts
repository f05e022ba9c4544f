import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SOURCE = fileURLToPath(new URL("..", import.meta.url));
const CATALOGUE = fileURLToPath(new URL("../../docs/errors.md", import.meta.url));

/** Names of UserError and of every class that extends it, however deep, in src/. */
function errorClasses(): string[] {
  const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && !name.includes(".test"),
  );
  const pairs = files.flatMap((name) => [...readFileSync(join(SOURCE, name), "utf8").matchAll(/class (\w+) extends (\w+)/g)]);
  const found = ["UserError"];
  for (const parent of found) found.push(...pairs.flatMap(([, name, extended]) => (extended === parent ? [name!] : [])));
  return found;
}

test("docs/errors.md lists every error class, and no other", () => {
  const listed = [...readFileSync(CATALOGUE, "utf8").matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name!);
  expect(listed.sort()).toEqual(errorClasses().sort());
});
