/** @file Reads a pool's recipe. A problem is told with the file, the line and, for a name that nobody knows, the nearest names. */

import { readdir } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { type Document, isMap, isNode, LineCounter, parseDocument } from "yaml";
import * as z from "zod";
import { closestNames } from "../adapters/modules.ts";
import { checkExpertName } from "../adapters/pool-file.ts";
import { DataError, UserError } from "../base/errors.ts";
import { derivedSeed } from "../base/random.ts";
import { parseJson, readUtf8 } from "../data/rows.ts";
import { MOA_DOMAINS } from "../demo/moa-domains.ts";
import { HELD_IN_TASKS } from "../demo/tasks.ts";
import { isFolder } from "../hub/cache.ts";
import { exists } from "../storage/files.ts";
import { type ExpertRecipe, expertRecipe, type GateRecipe, gateRecipe } from "../training/recipe.ts";
import { type EvaluationPlan, poolRecipeSchema, type RawRecipe, type Source } from "./recipe-schema.ts";

/** An expert with everything that the recipe says for all. */
export interface ExpertPlan {
  readonly name: string;
  /** File and line, for messages. */
  readonly where: string;
  readonly source: Source;
  readonly validation: Source | undefined;
  /** Training examples that are set aside to select by. */
  readonly holdout: number | undefined;
  readonly training: ExpertRecipe;
  readonly gates: GateRecipe | undefined;
  readonly statistics: StatisticsPlan | undefined;
  /** Decides which examples are taken or generated. */
  readonly seed: number;
  /** Only workers with this label take the job. */
  readonly label?: string | undefined;
}
export interface StatisticsPlan {
  readonly examples?: number | undefined;
  readonly positions?: "all" | "last" | "generated" | undefined;
  readonly embedder?: string | undefined;
  readonly maxLength?: number | undefined;
}
export interface PoolRecipe {
  readonly path: string;
  readonly name: string;
  readonly description: string;
  readonly base: string;
  readonly baseName: string;
  readonly parameters: number | undefined;
  /** The folder of datasets and templates. */
  readonly dataFolder: string;
  readonly moa: RawRecipe["moa"];
  readonly experts: readonly ExpertPlan[];
  readonly evaluation: EvaluationPlan | undefined;
  readonly seed: number;
}

/** What is said for this machine in place of what the recipe says. */
export interface RecipeOptions {
  /** The folder of datasets and templates. */
  readonly dataFolder?: string | undefined;
  /** The file of groups of values. */
  readonly groups?: string | undefined;
  /** The seed of data, initial values and order. */
  readonly seed?: number | undefined;
}

/** The checked contents of a recipe (docs/guide/farm.md), its paths made absolute.
 *  @throws DataError with file, line and the nearest names for a field, file or name that nobody knows. */
export async function readPoolRecipe(path: string, { dataFolder, groups, seed }: RecipeOptions = {}): Promise<PoolRecipe> {
  const lines = new LineCounter();
  const document = parseDocument(await readUtf8(path), { lineCounter: lines });
  const place: Place = (keys) => `${path}, line ${lineOf(document, lines, keys)}`;
  const [broken] = document.errors;
  if (broken) throw problem(broken.message.split("\n")[0]!, `${path}, line ${broken.linePos?.[0].line ?? 1}`);
  const raw: unknown = document.toJS();
  const parsed = poolRecipeSchema.safeParse(raw);
  if (!parsed.success) throw schemaProblem(parsed.error.issues[0]!, place);
  const change = { ...(groups !== undefined && { groups: resolve(groups) }), ...(seed !== undefined && { seed }) };
  const own = await resolved({ ...(raw as RawRecipe), ...change }, resolve(path), place);
  const recipe = dataFolder === undefined ? own : { ...own, dataFolder: resolve(dataFolder) };
  await checkRecipe(recipe, place);
  return recipe;
}

type Place = (keys: readonly PropertyKey[]) => string;

async function resolved(raw: RawRecipe, path: string, place: Place): Promise<PoolRecipe> {
  const folder = dirname(path);
  const at = (name: string) => resolve(folder, name);
  const base = (await isFolder(at(raw.base))) ? at(raw.base) : raw.base;
  const groups = raw.groups === undefined ? undefined : await readGroups(at(raw.groups));
  const { seed = expertRecipe.parse({}).seed, evaluation } = raw;
  const evaluated = evaluation && {
    ...evaluation,
    ...(evaluation.tasks && { tasks: evaluation.tasks.map(at) }),
    ...(evaluation.heldOut && { heldOut: evaluation.heldOut.map(at) }),
  };
  return {
    path,
    name: raw.name,
    description: raw.description ?? "",
    base,
    baseName: raw.baseName ?? raw.base,
    parameters: raw.parameters,
    dataFolder: raw.data === undefined ? resolve("data") : at(raw.data),
    moa: raw.moa,
    experts: raw.experts.map((_, i) => expertPlan(raw, i, { at, groups, seed, place })),
    evaluation: evaluated,
    seed,
  };
}

interface Resolving {
  readonly at: (name: string) => string;
  readonly groups: Groups | undefined;
  readonly seed: number;
  readonly place: Place;
}
type Groups = Readonly<Record<string, readonly string[]>>;

function expertPlan(raw: RawRecipe, i: number, { at, groups, seed, place }: Resolving): ExpertPlan {
  const { defaults = {} } = raw;
  const own = raw.experts[i]!;
  const where = place(["experts", i, "name"]);
  const { name, label, validation: _v, holdout, training: _t, gates: _g, statistics: _s, ...fields } = { ...defaults, ...own };
  // An expert with a source of its own takes nothing of another source from the defaults.
  const source = expanded(merged(ownSource(defaults, own), fields), { at, groups, where });
  const ownSeed = raw.seed === undefined ? {} : { seed: derivedSeed(raw.seed, name) };
  const training = expertRecipe.parse({ ...ownSeed, ...raw.training, ...defaults.training, ...own.training });
  const part = <T>(key: "gates" | "statistics", make: (options: object) => T): T | undefined => {
    const [all, usual, last] = [raw[key], defaults[key], own[key]];
    if ((last ?? usual ?? all) === false) return undefined;
    return make({ ...(all || {}), ...(usual || {}), ...(last || {}) });
  };
  const { batchSize, microBatchSize, lr, maxLength, packing, seed: trainingSeed } = training;
  const shared = { batchSize, microBatchSize, lr, maxLength, packing, seed: trainingSeed };
  const selecting = validationFields(defaults.validation, own.validation);
  return {
    name,
    where,
    source,
    validation: selecting && expanded(merged(source, selecting), { at, groups, where }),
    holdout,
    training,
    gates: part("gates", (options) => gateRecipe.parse({ ...shared, ...options })),
    statistics: part("statistics", (options) => ({ maxLength, ...options })),
    seed,
    label,
  };
}

type Selecting = RawRecipe["experts"][number]["validation"];

function validationFields(usual: Selecting, own: Selecting): Source | undefined {
  if ((own ?? usual ?? false) === false) return undefined;
  return merged((usual || {}) as Source, (own || {}) as Source);
}

const SOURCES = ["files", "dataset", "demo"] as const;

function ownSource(defaults: Source, own: Source): Source {
  const {
    label: _l,
    validation: _v,
    holdout: _h,
    training: _t,
    gates: _g,
    statistics: _s,
    ...fields
  } = defaults as Record<string, unknown>;
  const has = SOURCES.some((kind) => own[kind] !== undefined);
  return Object.fromEntries(Object.entries(fields).filter(([key]) => !(has && SOURCES.some((kind) => kind === key)))) as Source;
}

/** `fields` over `source`; files of its own replace a dataset, and templates are merged by their fields. */
function merged(source: Source, fields: Source): Source {
  const kind = SOURCES.find((key) => fields[key] !== undefined);
  const kept = Object.fromEntries(
    Object.entries(source).filter(([key]) => !kind || !SOURCES.some((other) => other === key && other !== kind)),
  );
  const templates = source.templates || fields.templates ? { templates: { ...source.templates, ...fields.templates } } : {};
  return { ...kept, ...fields, ...templates };
}

/** Absolute paths, and a group's values in place of its name. */
function expanded({ group, ...source }: Source, { at, groups, where }: Omit<Resolving, "seed" | "place"> & { where: string }): Source {
  const files = source.files && { files: source.files.map(at) };
  if (group === undefined) return { ...source, ...files };
  const values = groups?.[group];
  if (groups && values) {
    const [field = ""] = Object.keys(source.where ?? {});
    return { ...source, ...files, where: { ...source.where, [field]: [...values] } };
  }
  if (groups) throw unknownName("group", group, Object.keys(groups), where);
  return { ...source, ...files, group };
}

async function readGroups(path: string): Promise<Groups> {
  const value = parseJson(await readUtf8(path), path);
  const parsed = z.record(z.string(), z.array(z.string()).min(1)).safeParse(value);
  if (parsed.success) return parsed.data;
  throw problem(`The file of groups is not { group: [value, ...] }. ${z.prettifyError(parsed.error)}`, path);
}

async function checkRecipe(recipe: PoolRecipe, place: Place): Promise<void> {
  const names = recipe.experts.map(({ name }) => name);
  for (const [i, expert] of recipe.experts.entries()) {
    const at = (...keys: readonly PropertyKey[]) => place(["experts", i, ...keys]);
    try {
      checkExpertName(expert.name, recipe.path);
    } catch (error) {
      if (error instanceof UserError) throw problem(error.what, at("name"));
      throw error;
    }
    if (names.indexOf(expert.name) < i) throw problem(`Two experts are named "${expert.name}".`, at("name"));
    await checkSource(expert.source, at);
    if (expert.validation) await checkSource(expert.validation, (...keys) => at("validation", ...keys));
  }
  for (const [key, paths] of Object.entries({ tasks: recipe.evaluation?.tasks, heldOut: recipe.evaluation?.heldOut })) {
    for (const [i, path] of (paths ?? []).entries())
      if (!(await exists(path))) throw await missingFile(path, place(["evaluation", key, i]));
  }
}

async function checkSource(source: Source, at: (...keys: readonly PropertyKey[]) => string): Promise<void> {
  const kinds = SOURCES.filter((kind) => source[kind] !== undefined);
  if (kinds.length !== 1) {
    const what = kinds.length === 0 ? "This expert has no examples" : `This expert has both ${kinds.join(" and ")}`;
    throw problem(`${what}: one of ${SOURCES.join(", ")} says where they come from.`, at());
  }
  for (const [i, path] of (source.files ?? []).entries()) if (!(await exists(path))) throw await missingFile(path, at("files", i));
  const known = [...HELD_IN_TASKS.map(({ name }) => name), ...MOA_DOMAINS];
  if (source.demo !== undefined && !known.includes(source.demo)) throw unknownName("task of the demo", source.demo, known, at("demo"));
  if (source.templates && source.dataset === undefined && source.files === undefined)
    throw problem("Templates are for rows of a dataset or of files.", at("templates"));
}

async function missingFile(path: string, where: string): Promise<DataError> {
  const beside = await readdir(dirname(path)).catch(() => []); // no such folder: nothing is near
  return unknownName("file", path, beside, where, basename(path));
}

/** A name that nobody knows, with the nearest that somebody does. */
export function unknownName(kind: string, name: string, known: readonly string[], where: string, compared = name): DataError {
  const nearest = closestNames(compared, known);
  return new DataError({
    code: "recipe-invalid",
    data: { known: nearest },
    what: `There is no ${kind} "${name}".`,
    where,
    fix: nearest.length > 0 ? `Nearest: ${nearest.join(", ")}.` : "Correct the name.",
  });
}

function problem(what: string, where: string): DataError {
  return new DataError({ code: "recipe-invalid", what, where, fix: "docs/guide/farm.md lists the fields of a recipe." });
}

/** The first problem of a recipe's form. A union's problem is the one of its member that comes nearest. */
function schemaProblem(issue: z.core.$ZodIssue, place: Place, above: readonly PropertyKey[] = []): DataError {
  const keys = [...above, ...issue.path];
  if (issue.code === "invalid_union") {
    const [inner] = issue.errors.map((issues) => issues[0]!).filter((one) => one.path.length > 0 || one.code === "unrecognized_keys");
    if (inner) return schemaProblem(inner, place, keys);
  }
  if (issue.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    return unknownName("field", key, fieldsAt(keys), place([...keys, key]));
  }
  return problem(`${keys.length > 0 ? `${keys.map(String).join(".")}: ` : ""}${issue.message}.`, place(keys));
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

/** The fields that a recipe may have at this place. */
function fieldsAt(keys: readonly PropertyKey[]): string[] {
  let schemas: readonly JsonSchema[] = [z.toJSONSchema(poolRecipeSchema, { io: "input", unrepresentable: "any" }) as JsonSchema];
  const opened = (all: readonly JsonSchema[]): JsonSchema[] => all.flatMap((schema) => [schema, ...opened(schema.anyOf ?? [])]);
  for (const key of keys) {
    const next = opened(schemas).map((schema) => (typeof key === "number" ? schema.items : schema.properties?.[String(key)]));
    schemas = next.filter((schema) => schema !== undefined);
  }
  return opened(schemas).flatMap((schema) => Object.keys(schema.properties ?? {}));
}

/** The line of what these keys lead to, or of the nearest thing above it that is there. */
function lineOf(document: Document, lines: LineCounter, keys: readonly PropertyKey[]): number {
  for (let depth = keys.length; depth > 0; depth--) {
    const parent = document.getIn(keys.slice(0, depth - 1), true);
    const key = keys[depth - 1];
    const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === String(key)) : undefined;
    const node = pair ? pair.key : document.getIn(keys.slice(0, depth), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}
