/** @file The public surface stays what was recorded: every export, its type, its comment, and the reference page. */

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { recordedTypes, referencePage } from "./api-reference.ts";
import { bare, entryModules, type PublicApi, publicApi } from "./public-api.ts";

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));

let api: PublicApi;
beforeAll(() => {
  api = publicApi();
});

test("package.json has a subpath for each file of src/entries/, and no other", () => {
  const files = readdirSync(path("src/entries")).map((name) => `entries/${name.replace(/\.ts$/, "")}`);
  expect(entryModules().map(({ module }) => module)).toEqual(["index", ...files.sort()]);
});

test("every export has a comment, and so has every method of a class", () => {
  const bald = api.entries.flatMap(({ name, exports }) => exports.filter(({ doc }) => doc === "").map((one) => `${name}: ${one.name}`));
  const classes = api.entries.flatMap(({ exports }) => exports.filter(({ kind }) => kind === "class"));
  const methods = classes.flatMap(({ name, text }) => uncommented(text).map((method) => `${name}.${method}`));
  expect([...bald, ...new Set(methods)]).toEqual([]);
});

test("functions that may refuse what they are given say with which error", () => {
  const silent = api.entries.flatMap(({ name, exports }) =>
    exports
      .filter((one) => one.kind === "function" && /: Promise</.test(bare(one)) && !/@throws /.test(one.doc))
      .map((one) => `${name}: ${one.name}`),
  );
  expect(silent).toEqual([]);
});

test("the types that an entry's exports speak of are public too, but for those named here", () => {
  const shown = new Set(api.entries.flatMap(({ exports }) => exports.map(({ name }) => name)));
  const speaking = api.entries.flatMap(({ name, exports }) =>
    exports.flatMap((one) =>
      unknownTypes(bare(one), api, one.module).map((type) => ({ type, at: `${name}: ${one.name} speaks of ${type}` })),
    ),
  );
  const missing = speaking.filter(({ type }) => !shown.has(type) && !OPAQUE.has(type));
  expect(missing.map(({ at }) => at)).toEqual([]);
});

/** What programs pass on and do not look into: graphs and what builds them, files, engines. */
const OPAQUE = new Set([
  ...["Architecture", "Checkpoint", "Engine", "GraphParts", "Seams", "TensorInfo"],
  ...["BuildGraph", "Float", "Graph", "GraphKind", "Int"],
  ...["Lease", "LentFeeds", "Session", "SessionOptions"],
  ...["FarmQueue", "Keyed", "PoolRecipe", "QueuedJob", "Store", "TakenJob"],
  ...["DataRecord", "DataRequest", "ExpertStack", "Ia3Config", "LoraConfig", "Parameters"],
]);

test("exports and their types are what was recorded (UPDATE_GOLDEN=1 writes it)", async () => {
  await agrees("tests/golden/public-api.txt", await recordedTypes(api));
});

test("docs/reference/api.md says what the comments say (UPDATE_GOLDEN=1 writes it)", async () => {
  await agrees("docs/reference/api.md", await referencePage(api));
});

async function agrees(name: string, text: string): Promise<void> {
  if (process.env.UPDATE_GOLDEN) {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), text);
  }
  expect(text).toBe(existsSync(path(name)) ? readFileSync(path(name), "utf8").replaceAll("\r\n", "\n") : "");
}

/** Methods of a class without a comment before them. Disposing needs none. */
function uncommented(text: string): string[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    const [, name] = /^ {4}(?:static )?(\w+)(?:<[^>]*>)?\(/.exec(line) ?? [];
    return name === undefined || ["constructor", "dispose"].includes(name) || lines[i - 1]!.trim().endsWith("*/") ? [] : [name];
  });
}

/** Interfaces, classes and types of Skein's own among the words of a declaration. */
function unknownTypes(declaration: string, { modules }: PublicApi, module: string): string[] {
  const words = new Set(declaration.replace(/"[^"]*"/g, "").match(/\b[A-Z]\w+/g));
  const imported = importsOf(modules, module);
  return [...words].filter((word) => imported.has(word));
}

function importsOf(modules: PublicApi["modules"], module: string): ReadonlySet<string> {
  const source = readFileSync(path(`src/${module}.ts`), "utf8");
  const imports = [...source.matchAll(/import (?:type )?\{([^}]*)\} from "\.[^"]*"/g)].flatMap(([, names = ""]) => names.split(","));
  const own = [...(modules.get(module)?.values() ?? [])].filter(({ text }) => /^export (?:declare )?(?:interface|type|class)/.test(text));
  return new Set([
    ...imports.map((name) =>
      name
        .trim()
        .replace(/^type /, "")
        .replace(/^\w+ as /, ""),
    ),
    ...own.map(({ name }) => name),
  ]);
}
