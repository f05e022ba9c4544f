/** @file The public surface as its users' compiler sees it: every export of every entry of package.json, with its declaration and its comment,
 *  read from the declaration files that the compiler writes. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

export interface Declaration {
  readonly name: string;
  /** The file of src/ that has it, without its extension. */
  readonly module: string;
  readonly kind: "function" | "class" | "const" | "type" | "interface";
  /** As the compiler writes it, comments of members included. */
  readonly text: string;
  /** The comment before it, without its marks; empty where there is none. */
  readonly doc: string;
  /** Whether a program can only speak of it, not hold it. */
  readonly isType: boolean;
}
export interface Entry {
  /** "skein", "skein/peft", ... */
  readonly name: string;
  /** What the file says of itself. */
  readonly about: string;
  readonly exports: readonly Declaration[];
}
export interface PublicApi {
  readonly entries: readonly Entry[];
  /** Declarations of a module of src/, public or not, by name. */
  readonly modules: ReadonlyMap<string, ReadonlyMap<string, Declaration>>;
}

/** Compiles the declarations and reads them. */
export function publicApi(): PublicApi {
  const folder = mkdtempSync(join(tmpdir(), "skein-api-"));
  try {
    const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
    const options = ["-p", "tsconfig.json", "--noCheck", "--emitDeclarationOnly", "--outDir", folder];
    execFileSync(process.execPath, [compiler, ...options], { cwd: ROOT, stdio: "pipe" });
    const modules = new Map<string, ReadonlyMap<string, Declaration>>();
    const declarationsOf = (module: string) => {
      const known = modules.get(module) ?? declarations(readFileSync(join(folder, `${module}.d.ts`), "utf8"), module);
      modules.set(module, known);
      return known;
    };
    const entries = entryModules().map(({ name, module }): Entry => {
      const text = readFileSync(join(folder, `${module}.d.ts`), "utf8");
      const exports = reexports(text, module).map(({ name: exported, from, isType }) => {
        const declared = declarationsOf(from).get(exported);
        if (!declared) throw new Error(`${name}: no declaration of ${exported} in src/${from}.ts`);
        return { ...declared, isType: isType || declared.isType };
      });
      return { name, about: aboutOf(text), exports: exports.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    });
    return { entries, modules };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The entries that package.json names, and the modules of src/ behind them. */
export function entryModules(): { readonly name: string; readonly module: string }[] {
  const { name, exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return Object.entries(exports as Record<string, { readonly types: string } | string>).flatMap(([path, target]) =>
    typeof target === "string" ? [] : [{ name: `${name}${path.slice(1)}`, module: target.types.replace(/^\.\/dist\/|\.d\.ts$/g, "") }],
  );
}

/** The examples in comments: whole programs. */
export function examplesIn({ entries }: PublicApi): { readonly name: string; readonly code: string }[] {
  const owners = new Map(entries.flatMap(({ exports }) => exports.map((one) => [`${one.module} ${one.name}`, one] as const)));
  return [...owners.values()].flatMap(({ name, doc, text }) => {
    const comments = [doc, ...[...text.matchAll(/\/\*\*[\s\S]*?\*\//g)].map(([comment]) => plainComment(comment))];
    const found = comments.flatMap((comment) => comment.split(/^@example\n/m).slice(1));
    return found.map((part, i) => ({ name: found.length > 1 ? `${name}-${i + 1}` : name, code: `${part.split(/^@\w+/m)[0]!.trim()}\n` }));
  });
}

/** A declaration without its comments, on as few lines as can be. */
export function bare({ text }: Pick<Declaration, "text">): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/import\("[^"]*"\)\./g, "")
    .replace(/\s+/g, " ")
    .replace(/ ;/g, ";")
    .trim();
}

/** The text of a comment, without its marks. */
function plainComment(comment: string): string {
  return comment
    .replace(/^\/\*\*\s?|\s*\*\/$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* {0,2}/, "").trimEnd())
    .join("\n")
    .trim();
}

function aboutOf(text: string): string {
  const [, comment = ""] = /^\s*(\/\*\* @file[\s\S]*?\*\/)/.exec(text) ?? [];
  return plainComment(comment)
    .replace(/^@file\s+/, "")
    .replace(/\s+/g, " ");
}

/** What an entry shows: `export { a, type B } from "./file.ts"`. */
function reexports(text: string, module: string): { name: string; from: string; isType: boolean }[] {
  return [...text.matchAll(/export (type )?\{([^}]*)\} from "([^"]+)"/g)].flatMap(([, type, names = "", target = ""]) => {
    const from = join(dirname(module), target).replaceAll("\\", "/").replace(/\.ts$/, "");
    const parts = names
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
    return parts.map((part) => ({ name: part.replace(/^type /, ""), from, isType: type !== undefined || part.startsWith("type ") }));
  });
}

/** The top-level declarations of a declaration file. */
function declarations(source: string, module: string): Map<string, Declaration> {
  const found = new Map<string, Declaration>();
  let doc = "";
  for (let at = 0; at < source.length; ) {
    const comment = /^\s*(\/\*[\s\S]*?\*\/|\/\/[^\n]*)/.exec(source.slice(at));
    if (comment) {
      doc = comment[1]!.startsWith("/**") && !comment[1]!.startsWith("/** @file") ? plainComment(comment[1]!) : "";
      at += comment[0].length;
      continue;
    }
    const end = statementEnd(source, at);
    const text = source.slice(at, end).trim();
    const [, kind, name] = /^(?:export )?(?:declare )?(?:abstract )?(function|class|const|type|interface)\*? (\w+)/.exec(text) ?? [];
    if (kind && name && !found.has(name)) {
      const isType = kind === "type" || kind === "interface";
      found.set(name, { name, module, kind: kind as Declaration["kind"], text, doc, isType });
    }
    doc = "";
    at = end;
  }
  return found;
}

/** Where the statement at `start` ends: behind its body, or behind its semicolon. */
function statementEnd(source: string, start: number): number {
  const endsWithBody = /^\s*(?:export )?(?:declare )?(?:abstract )?(?:class|interface) /.test(source.slice(start, start + 200));
  let depth = 0;
  for (let at = start; at < source.length; at++) {
    const char = source[at]!;
    if (source.startsWith("/*", at)) at = source.indexOf("*/", at) + 1;
    else if (char === '"' || char === "'" || char === "`") at = stringEnd(source, at);
    else if ("({[".includes(char)) depth++;
    else if (")}]".includes(char)) depth--;
    if (depth === 0 && (char === ";" || (endsWithBody && char === "}"))) return at + 1;
  }
  return source.length;
}

function stringEnd(source: string, start: number): number {
  let at = start + 1;
  while (at < source.length && source[at] !== source[start]) at += source[at] === "\\" ? 2 : 1;
  return at;
}

/** The path of a declaration's file from a folder of the checkout, with forward slashes. */
export function sourceFrom(folder: string, { module }: Declaration): string {
  return relative(join(ROOT, folder), join(ROOT, "src", `${module}.ts`)).replaceAll("\\", "/");
}
