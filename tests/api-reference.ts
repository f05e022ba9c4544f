/** @file What docs/reference/api.md and the recorded types say, written from the public surface. */

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { type Declaration, type Entry, type PublicApi, sourceFrom } from "./public-api.ts";

/** One option of a schema: its type, its default, and what it does. */
interface Option {
  readonly name: string;
  readonly type: string;
  readonly standard: string;
  readonly description: string;
}

/** Every export's declaration without comments, entry by entry. */
export async function recordedTypes({ entries }: PublicApi): Promise<string> {
  const parts: string[] = [
    "Every export of the package with its type. UPDATE_GOLDEN=1 npx vitest run tests/public-api.test.ts writes it.\n",
  ];
  for (const { name, exports } of entries) {
    parts.push(`\n==== ${name} ====\n`);
    for (const one of exports) {
      const options = (await optionsOf(one)).map(({ name, type, standard }) => `    ${name}?: ${type}${standard && ` = ${standard}`}`);
      parts.push([withoutComments(shown(one.text)), ...options, ""].join("\n"));
    }
  }
  return parts.join("");
}

/** The reference page. A name that several entries have is described at the first. */
export async function referencePage({ entries }: PublicApi): Promise<string> {
  const places = new Map<string, string>();
  const parts = [HEAD, ...entries.map(({ name, exports }) => tocLine(name, exports))];
  for (const entry of entries) {
    const own = entry.exports.filter((one) => !places.has(keyOf(one)));
    const others = entry.exports.filter((one) => places.has(keyOf(one)));
    for (const one of own) places.set(keyOf(one), entry.name);
    parts.push(
      `\n## ${entry.name}\n\n${entry.name === "skein" ? ROOT_ABOUT : `${entry.about.replace(/^`[^`]*`: /, "").replace(/^./, (c) => c.toUpperCase())}`}\n`,
    );
    if (others.length > 0) parts.push(`\nAlso here: ${others.map(({ name }) => `[\`${name}\`](#${name.toLowerCase()})`).join(", ")}.\n`);
    for (const one of [...own.filter(({ isType }) => !isType), ...own.filter(({ isType }) => isType)]) parts.push(await described(one));
  }
  return parts.join("");
}

const HEAD = `# API

Made from the comments in the code by \`UPDATE_GOLDEN=1 npx vitest run tests/public-api.test.ts\`; a test holds it to them. Shapes are written
[batch, sequence]; log-probabilities are natural logarithms. Errors that a caller can mend extend \`UserError\` and have a \`code\`: [errors.md](../errors.md).
Guides: [training](../guide/training.md), [generation](../guide/generation.md), [routing](../guide/routers.md), [evaluation](../guide/evaluation.md).

`;
const ROOT_ABOUT = "The verbs, the errors, and the types that the verbs speak of.";

const keyOf = ({ module, name }: Declaration) => `${module} ${name}`;

function tocLine(name: string, exports: Entry["exports"]): string {
  const values = exports.filter(({ isType }) => !isType).map((one) => `[\`${one.name}\`](#${one.name.toLowerCase()})`);
  return `- [\`${name}\`](#${name.replace("/", "")}): ${values.length > 0 ? values.join(", ") : "types"}\n`;
}

async function described(one: Declaration): Promise<string> {
  const { doc, name, text } = one;
  const [body = "", ...examples] = doc.split(/^@example\n/m);
  const [about = "", ...throwing] = body.split(/^@throws /m);
  const errors = throwing.map((part) => `\nThrows ${joined(part)}\n`).join("");
  const code = examples.map((example) => `\n\`\`\`ts\n${example.trim()}\n\`\`\`\n`).join("");
  const options = await optionsOf(one);
  const table = options.map(({ name, type, standard, description }) => {
    const cells = [`\`${name}\``, `\`${type}\``, standard && `\`${standard}\``, description].map((cell) => cell.replaceAll("|", "\\|"));
    return `| ${cells.join(" | ")} |\n`;
  });
  const rows = table.length > 0 ? `\n| option | type | default | |\n| --- | --- | --- | --- |\n${table.join("")}` : "";
  const source = `[source](${sourceFrom("docs/reference", one)})`;
  return `\n### ${name}\n\n${joined(about)} ${source}\n${errors}\n\`\`\`ts\n${shown(text)}\n\`\`\`\n${rows}${code}`;
}

/** A paragraph on one line, paragraphs apart. */
function joined(text: string): string {
  return text
    .trim()
    .split(/\n\s*\n/)
    .map((part) => part.replace(/\s*\n\s*/g, " "))
    .join("\n\n");
}

/** A declaration as a reader wants it: two blanks of indentation, no paths. */
function shown(text: string): string {
  return text
    .replace(/^export (?:declare )?/, "")
    .replace(/import\("[^"]*"\)\./g, "")
    .replace(/ extends \w+Error_base \{\n\}/, " extends UserError {}")
    .replace(/^ +/gm, (indent) => " ".repeat(Math.ceil(indent.length / 2)))
    .replace(/^\s*(?:#private|readonly #\w+);\n/gm, "");
}

function withoutComments(text: string): string {
  return `${text
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^\s*\n/gm, "")
    .trimEnd()}\n`;
}

/** The options behind a type that is made of a schema. */
async function optionsOf({ text, module }: Declaration): Promise<Option[]> {
  const [, name] = /z\.input<typeof (\w+)>/.exec(text) ?? [];
  if (name === undefined) return [];
  const loaded = await import(schemaFile(module, name));
  const { properties = {} } = z.toJSONSchema(loaded[name] as z.ZodType, { io: "input" });
  return Object.entries(properties as Record<string, Property>).map(([option, property]) => ({
    name: option,
    type: typeOf(property),
    standard: property.default === undefined ? "" : JSON.stringify(property.default),
    description: property.description ?? "",
  }));
}

/** The file that has the schema: the type's own, or one that it imports it from. */
function schemaFile(module: string, schema: string): string {
  const file = fileURLToPath(new URL(`../src/${module}.ts`, import.meta.url));
  const [, other] = new RegExp(`import (?:type )?\\{[^}]*\\b${schema}\\b[^}]*\\} from "([^"]+)"`).exec(readFileSync(file, "utf8")) ?? [];
  return other === undefined ? file : join(dirname(file), other);
}

interface Property {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Property[];
  readonly oneOf?: readonly Property[];
  readonly items?: Property;
  readonly properties?: Readonly<Record<string, Property>>;
  readonly default?: unknown;
  readonly description?: string;
}

function typeOf({ type, enum: values, anyOf, oneOf, items, properties, const: value }: Property): string {
  if (value !== undefined) return JSON.stringify(value);
  if (values) return values.map((one) => JSON.stringify(one)).join(" | ");
  const any = anyOf ?? oneOf;
  if (any) return any.map(typeOf).join(" | ");
  if (type === "array") return items ? `${items.anyOf ? `(${typeOf(items)})` : typeOf(items)}[]` : "unknown[]";
  if (properties)
    return `{ ${Object.entries(properties)
      .map(([name, one]) => `${name}: ${typeOf(one)}`)
      .join(", ")} }`;
  return type ?? "unknown";
}
