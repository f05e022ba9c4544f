/** @file The modules of a base model, and how the names in an adapter's file are matched to them.
 *
 *  A module's name is the checkpoint's tensor path without `.weight`. An adapter saved from a wrapped or headless model may name the
 *  same modules with a longer or shorter prefix ("transformer.h.0..." for "h.0..."). One such change of prefix is accepted; it must be
 *  the same for all modules, except those that have no such prefix. Any other name is an error that lists close names. */

import { AdapterError } from "../base/errors.ts";
import type { TensorInfo } from "../checkpoint/safetensors-header.ts";
import type { Adapter } from "./adapter.ts";

/** Sizes of one projection [out, in], or of one table of embeddings [in, out]. */
export interface ModuleSize {
  readonly in: number;
  readonly out: number;
  /** Whether it is a table of embeddings [in, out]. Its input is a token id, so there is no vector to gate, score or scale. */
  readonly embedding?: true;
  /** Whether the model never calls it, though the checkpoint has it. An adapter on it then changes nothing. */
  readonly idle?: true;
  /** The base's weight on disk; modules with tied weights have the same one. */
  readonly weight?: TensorInfo;
}
/** The modules that an adapter can change: module path -> sizes, y [out] = W x [in]. */
export type ModuleSizes = ReadonlyMap<string, ModuleSize>;

/** The tables of embeddings that an adapter covers. */
export function embeddingsOf(adapter: Adapter): string[] {
  return adapter.kind === "lora" ? [...adapter.modules].flatMap(([module, { embedding }]) => (embedding ? [module] : [])) : [];
}

/** Refuses an adapter on embeddings for uses that read each module's input. `name`: the adapter's name in the error. */
export function needInputs(adapter: Adapter, name: string): void {
  const [embedding] = embeddingsOf(adapter);
  if (embedding === undefined) return;
  throw new AdapterError({
    code: "adapter-on-embeddings",
    data: { module: embedding },
    what: `${name} adapts the embeddings ${embedding}, where a token id comes in and no vector that a gate or router could read.`,
    where: embedding,
    fix: "Use it on every token (as `adapter`), merge it (mergeAdapters, or router merged), or train it again without embeddings.",
  });
}

/** How an adapter's names become the base's: the prefix `strip` is replaced by `add`. */
export interface PrefixChange {
  readonly strip: string;
  readonly add: string;
}

export const NO_CHANGE: PrefixChange = { strip: "", add: "" };

/** The base's name for a module of the adapter, or undefined when the prefix does not fit. */
export function renamed(name: string, change: PrefixChange): string | undefined {
  return name.startsWith(change.strip) ? change.add + name.slice(change.strip.length) : undefined;
}

/** The base's name for a module of the adapter. A name that the base has too stays unchanged ("lm_head" has no prefix to change). */
export function baseName(name: string, change: PrefixChange, modules: ModuleSizes): string {
  if (modules.has(name)) return name;
  const changed = renamed(name, change);
  return changed !== undefined && modules.has(changed) ? changed : name;
}

/** The adapter's name for a module of the base: the inverse of `renamed`. */
export function renamedBack(module: string, change: PrefixChange): string | undefined {
  return renamed(module, { strip: change.add, add: change.strip });
}

/** The only change of prefix that maps all names to different modules of the base. `where` names the adapter in errors. */
export function prefixChange(names: Iterable<string>, modules: ModuleSizes, where: string): PrefixChange {
  const all = [...names];
  const unknown = all.filter((name) => !modules.has(name));
  const [first] = unknown;
  if (first === undefined) return NO_CHANGE;
  const foreign = unknown.filter((name) => TOWER.test(name));
  if (foreign.length > 0)
    throw elsewhere(foreign, "lie in a part for images or sound, which is not the language model's", { all, modules, where });
  const bySuffix = suffixIndex(modules);
  for (const strip of strippable(first)) {
    const changes = candidateChanges(strip, first.slice(strip.length), modules, bySuffix).filter(isOfWrappers);
    const fitting = changes.filter((change) => all.every((name) => modules.has(baseName(name, change, modules))));
    const [only] = fitting;
    if (only && fitting.length === 1) return oneToOne(all, only, { modules, where });
    if (fitting.length > 1) throw ambiguous(first, fitting, where);
  }
  throw elsewhere(unknown, undefined, { all, modules, where });
}

/** Names of the other parts of a multimodal model, as they occur in adapters of such models. */
const TOWER =
  /(?:^|\.)(?:vision|visual|image|audio|speech|video|multi_?modal|mm_projector|projector|connector|resampler|perceiver|q_?former)\w*\./i;

/** Names of wrappers around a language model's layers. They do not identify the layers. */
const WRAPPERS = new Set("model base_model transformer language_model language text_model text llm lm backbone module wrapper".split(" "));

/** A complete name may get any prefix. A prefix that is replaced must be a wrapper; `model.decoder.` is none. */
function isOfWrappers({ strip, add }: PrefixChange): boolean {
  return add === "" || strip.split(".").every((part) => part === "" || WRAPPERS.has(part));
}

/** Refuses a change that maps two names to one module, or gives one stack of layers two spellings in one file. */
function oneToOne(all: readonly string[], change: PrefixChange, { modules, where }: { modules: ModuleSizes; where: string }): PrefixChange {
  const [own, changed] = [new Set<string>(), new Map<string, string>()];
  for (const name of all) {
    if (modules.has(name)) own.add(stackOf(name));
    else {
      const module = baseName(name, change, modules);
      const twin = changed.get(module);
      if (twin !== undefined) throw twins(twin, name, module, where);
      changed.set(module, name);
    }
  }
  const astray = [...changed].flatMap(([module, name]) => (own.has(stackOf(module)) ? [name] : []));
  if (astray.length > 0) throw elsewhere(astray, "lie beside layers that the adapter names as the base does", { all, modules, where });
  return change;
}

/** "model.layers." of "model.layers.3.mlp.up_proj"; the whole name if it has no number. */
const stackOf = (name: string): string => /^.*?(?=\d+\.)/.exec(name)?.[0] ?? name;

function twins(one: string, other: string, module: string, where: string): AdapterError {
  return new AdapterError({
    code: "adapter-ambiguous-module",
    data: { module: one, known: [module] },
    what: `"${one}" and "${other}" would both be ${module}.`,
    where,
    fix: "Save the adapter with one name for each module.",
  });
}

interface Names {
  readonly all: readonly string[];
  readonly modules: ModuleSizes;
  readonly where: string;
}

/** The error for names that are not modules of the base, with the reason if it is known. */
function elsewhere(names: readonly string[], why: string | undefined, { all, modules, where }: Names): AdapterError {
  const first = names[0]!;
  const known = closestNames(first, modules.keys());
  const more = names.length > 1 ? ` (nor ${names.length - 1} more of the adapter's ${all.length})` : "";
  return new AdapterError({
    code: "adapter-unknown-module",
    data: { module: first, known },
    what: `The base model has no module "${first}"${more}.${why === undefined ? "" : ` They ${why}.`}`,
    where,
    fix:
      why === undefined
        ? `Use the base model this adapter was trained on. Closest names in this one: ${known.join(", ") || "none"}.`
        : "Train the adapter on the language model alone (target_modules, exclude_modules), or take the other modules out of its file and its target_modules.",
  });
}

/** The prefixes that may be removed from a name, shortest first. None contains a layer number, since layer 9 is not layer 0. */
function strippable(name: string): string[] {
  const prefixes = [""];
  for (const part of name.split(".").slice(0, -1)) {
    if (/^\d+$/.test(part)) break;
    prefixes.push(`${prefixes[prefixes.length - 1]}${part}.`);
  }
  return prefixes;
}

/** The prefixes that may precede `rest`: none (a wrapped model's adapter), or the base's (a headless model's). */
function candidateChanges(
  strip: string,
  rest: string,
  modules: ModuleSizes,
  bySuffix: ReadonlyMap<string, readonly string[]>,
): PrefixChange[] {
  const adds = (bySuffix.get(rest) ?? [])
    .map((module) => module.slice(0, module.length - rest.length))
    .filter((add) => !/(?:^|\.)\d+\./.test(add));
  return [...(modules.has(rest) ? [""] : []), ...adds].map((add) => ({ strip, add }));
}

function ambiguous(name: string, changes: readonly PrefixChange[], where: string): AdapterError {
  const readings = changes.flatMap((change) => renamed(name, change) ?? []);
  const what = `"${name}" could be ${readings.join(" or ")}: the adapter's names leave out which.`;
  return new AdapterError({
    code: "adapter-ambiguous-module",
    data: { module: name, known: readings },
    what,
    where,
    fix: "Save the adapter from the whole model, so that its names hold the full path.",
  });
}

/** Every proper suffix after a dot -> the modules that end with it. */
function suffixIndex(modules: ModuleSizes): Map<string, string[]> {
  const index = new Map<string, string[]>();
  for (const module of modules.keys()) {
    for (let dot = module.indexOf("."); dot >= 0; dot = module.indexOf(".", dot + 1)) {
      const suffix = module.slice(dot + 1);
      const list = index.get(suffix);
      if (list) list.push(module);
      else index.set(suffix, [module]);
    }
  }
  return index;
}

/** Up to `count` of `names` nearest to `name` by edit distance (Levenshtein 1966). */
export function closestNames(name: string, names: Iterable<string>, count = 3): string[] {
  return [...names]
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((p, q) => p.distance - q.distance)
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
