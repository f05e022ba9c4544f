/** @file Creates the parts of a decoder-only architecture: its file, its line in the registry, and its case in the reference script.
 *
 *      npm run new:architecture NAME        NAME is the `model_type` of config.json
 *
 *  The steps are in docs/guide/adding-an-architecture.md. Existing files are not overwritten. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = process.env.SKEIN_ROOT ?? fileURLToPath(new URL("..", import.meta.url));
const type = process.argv[2] ?? "";
if (!/^[a-z][a-z0-9_]*$/.test(type))
  stop(`"${type}" cannot be a model_type.`, "Give the one in the checkpoint's config.json: npm run new:architecture olmo2");

const file = type.replaceAll("_", "-");
const name = type.replaceAll(/_(.)/g, (_, letter) => letter.toUpperCase());
const className = name[0].toUpperCase() + name.slice(1);
const paths = {
  architecture: join(root, "src/models", `${file}.ts`),
  registry: join(root, "src/models/registry.ts"),
  reference: join(root, "scripts/reference/decoders.py"),
};
const registry = readFileSync(paths.registry, "utf8");
const reference = readFileSync(paths.reference, "utf8");
if (new RegExp(`^ {2}${type}[:,]`, "m").test(registry)) stop(`"${type}" is already in the registry.`, "Change its file in src/models.");
if (existsSync(paths.architecture)) stop(`${relative(root, paths.architecture)} exists.`, "Move it away, or go on from it.");

writeFileSync(paths.architecture, architecture());
writeFileSync(paths.registry, registered());
writeFileSync(paths.reference, withCase());
console.log(`Laid out:
  ${relative(root, paths.architecture)}   a Llama to change into yours
  ${relative(root, paths.registry)}   its line
  ${relative(root, paths.reference)}   its case "${type}" for the golden numbers
Next:
  1. Write what differs from Llama into src/models/${file}.ts.
  2. python3 scripts/reference/decoders.py SITE_PACKAGES tests/golden/decoders ${type}
  3. npx vitest run src/models src/training/decoder-only.test.ts src/generation/decoder.test.ts
The whole recipe: docs/guide/adding-an-architecture.md`);

function architecture() {
  return `/** @file ${className} (AUTHORS YEAR, arXiv:NUMBER; reference: transformers, models/${type}): Llama with
 *  WHAT DIFFERS - ONE THING AFTER ANOTHER. */

import * as z from "zod";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderFields } from "./decoder.ts";
import { llamaLike } from "./llama.ts";

const schema = z.object({ ...decoderFields });

export const ${name}: ArchitectureFactory = reading(configKeys(schema), (raw) => {
  const config = parseConfig(schema, raw);
  return llamaLike(config, {});
});
`;
}

/** The registry with one more import and one more line; imports are sorted by file. */
function registered() {
  const line = `import { ${name} } from "./${file}.ts";`;
  const imports = registry.match(/^import \{ \w+ \} from "\.\/[\w-]+\.ts";$/gm) ?? [];
  const after = imports.filter((other) => pathIn(other) < `./${file}.ts`).at(-1);
  const withImport = after ? registry.replace(after, `${after}\n${line}`) : registry.replace(imports[0], `${line}\n${imports[0]}`);
  const entry = name === type ? type : `${type}: ${name}`;
  return withImport.replace(/(const ARCHITECTURES[^{]*\{\n[\s\S]*?)(\n\};)/, `$1\n  ${entry},$2`);
}

function pathIn(line) {
  return line.slice(line.indexOf('"') + 1, -2);
}

function withCase() {
  return reference.replace(/(\nCASES = \{[\s\S]*?)(\n\}\n)/, `$1\n    "${type}": ("${type}", "${className}", dict()),$2`);
}

function stop(what, fix) {
  console.error(`${what}\n${fix}`);
  process.exit(1);
}
