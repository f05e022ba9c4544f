/** @file The examples that an expert learns from: of data files, of a dataset's rows with or without templates, or of the demo's generator. */

import { basename, join } from "node:path";
import { DataError, relocated } from "../base/errors.ts";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { matchingParquetRows, matchingRows } from "../data/matching-rows.ts";
import type { Row } from "../data/row.ts";
import { dataFormat } from "../data/rows.ts";
import { examplesOfRows, type TrainingExample } from "../data/training-data.ts";
import { domainExamples, MOA_DOMAINS } from "../demo/moa-domains.ts";
import { examples as demoExamples, HELD_IN_TASKS, trainingExamples } from "../demo/tasks.ts";
import { findDataFiles } from "../evaluation/tasks/find-data.ts";
import { hubDatasets } from "../evaluation/tasks/hub-data.ts";
import { isFolder } from "../hub/cache.ts";
import { folderListing, type HubListing, listRepository } from "../hub/listing.ts";
import type { ResolveOptions } from "../hub/resolve-model.ts";
import { unknownName } from "./recipe-file.ts";
import type { Source } from "./recipe-schema.ts";
import { templatesOf, withTemplates } from "./templates.ts";

export interface DataOptions extends ResolveOptions {
  /** The folder of datasets and templates. */
  readonly dataFolder: string;
  readonly seed: number;
  /** The recipe's file and line, for messages. */
  readonly where: string;
  readonly onWarning?: (message: string) => void;
}

/** Examples for training or, of the demo's generator, for validation. */
export async function expertExamples(source: Source, use: "training" | "validation", options: DataOptions): Promise<TrainingExample[]> {
  if (source.group !== undefined) {
    throw new DataError({
      code: "recipe-invalid",
      what: `The values of the group "${source.group}" are not known.`,
      where: options.where,
      fix: "Give the recipe a file of groups: docs/guide/farm.md says how it is made.",
    });
  }
  if (source.demo !== undefined) return generated(source.demo, use, source.limit, options.seed);
  const rows = await sourceRows(source, options);
  const examples = source.templates ? await templated(rows, source, options) : rowExamples(rows, options);
  const { limit = examples.length } = source;
  if (examples.length <= limit) return examples;
  return shuffled(examples, seededRandom(derivedSeed("examples", options.seed))).slice(0, limit);
}

const USUAL = { training: 2000, validation: 64 } as const;

function generated(name: string, use: "training" | "validation", most: number | undefined, seed: number): TrainingExample[] {
  const limit = most ?? USUAL[use];
  const task = HELD_IN_TASKS.find((one) => one.name === name);
  const domain = MOA_DOMAINS.find((one) => one === name);
  const made = task
    ? use === "training"
      ? trainingExamples(task, limit, seed)
      : demoExamples(task, use, limit, seed)
    : domainExamples(domain!, use === "training" ? "train" : use, limit, seed);
  return made.map(({ input, target }) => ({ kind: "pair", input, target }));
}

/** The rows of a source, no more of each file than are asked for. */
async function sourceRows(source: Source, options: DataOptions): Promise<Row[]> {
  const { where: filter = {}, rows: most = source.templates ? Number.POSITIVE_INFINITY : (source.limit ?? Number.POSITIVE_INFINITY) } =
    source;
  const isCut = source.rows !== undefined || source.folders !== undefined;
  const found: Row[] = [];
  for await (const file of filesOf(source, options)) {
    const some = file.bytes ? matchingParquetRows(file.bytes, file.path, filter) : matchingRows(file.path, filter);
    for await (const row of some) {
      found.push(row);
      if (isCut && found.length >= most) return found;
    }
  }
  if (found.length > 0) return found;
  const values = Object.entries(filter).map(([field, value]) => `${field} ${[value].flat().join(" or ")}`);
  throw new DataError({
    code: "data-empty",
    what: values.length > 0 ? `No row has ${values.join(" and ")}.` : "The dataset is empty.",
    where: options.where,
    fix: "Correct the recipe, or leave the expert out.",
  });
}

interface DataFile {
  readonly path: string;
  readonly bytes?: Parameters<typeof matchingParquetRows>[0];
}

async function* filesOf(source: Source, options: DataOptions): AsyncGenerator<DataFile> {
  const { files, dataset = "", config, revision, folders, split = "train", templates } = source;
  if (files) for (const path of files) yield { path };
  else if (folders) yield* folderFiles(source, options);
  else if (templates?.from === "p3") yield* preparedFiles(source, options);
  else {
    const sources = { folders: [options.dataFolder], elsewhere: hubDatasets(options) };
    const request = { dataset, splits: [split], ...(config !== undefined && { config }), ...(revision !== undefined && { revision }) };
    for (const path of await located(() => findDataFiles(request, sources), options)) yield { path };
  }
}

/** The files of a dataset's folders, one at a time: on disk, or on the Hub read by ranges. */
async function* folderFiles({ dataset = "", folders = [], revision = "main" }: Source, options: DataOptions): AsyncGenerator<DataFile> {
  const listing = await listingOf(dataset, revision, options);
  for (const folder of folders) {
    const paths = listing.paths.filter((path) => path.startsWith(`${folder}/`) && dataFormat(path) !== undefined);
    if (paths.length === 0) {
      throw unknownName("folder", folder, [...new Set(listing.paths.map((path) => path.split("/")[0]!))], options.where);
    }
    for (const path of paths) yield await fileOf(listing, path);
  }
}

/** The prepared text of bigscience/P3: one configuration for each template, <dataset>_<config>_<template>. */
async function* preparedFiles({ templates = {}, split = "train" }: Source, options: DataOptions): AsyncGenerator<DataFile> {
  const listing = await listingOf("bigscience/P3", "refs/convert/parquet", options);
  const prefix = `${(templates.path ?? "").replaceAll("/", "_")}_`;
  const configs = [...new Set(listing.paths.map((path) => path.split("/")[0]!))];
  const spelled = (name: string) => prefix + name.replace(/[^\w.]+/g, "_");
  const left = new Set((templates.ignore ?? []).map(spelled));
  const only = templates.only && new Set(templates.only.map(spelled));
  const own = configs.filter(
    (name) => name.startsWith(prefix) && !name.endsWith("_score_eval") && !left.has(name) && (!only || only.has(name)),
  );
  if (own.length === 0) {
    throw unknownName("prepared dataset", templates.path ?? "", configs, options.where, prefix);
  }
  const isSplit = (path: string) =>
    path.split("/").some((part) => part === split) || basename(path).includes(`-${split}`) || basename(path).startsWith(split);
  for (const path of listing.paths) if (own.includes(path.split("/")[0]!) && isSplit(path)) yield await fileOf(listing, path);
}

async function fileOf(listing: HubListing, path: string): Promise<DataFile> {
  if (listing.open && dataFormat(path) === "parquet") return { path, bytes: await listing.open(path) };
  const [local = path] = await listing.fetch([path]);
  return { path: local };
}

async function listingOf(dataset: string, revision: string, options: DataOptions): Promise<HubListing> {
  for (const folder of [join(options.dataFolder, dataset), join(options.dataFolder, basename(dataset))]) {
    if (await isFolder(folder)) return folderListing(folder);
  }
  return located(() => listRepository({ type: "dataset", name: dataset, revision }, options), options);
}

/** A dataset that is nowhere is a problem of the recipe's line. */
async function located<T>(work: () => Promise<T>, { where }: DataOptions): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DataError) throw relocated(error, where);
    throw error;
  }
}

async function templated(rows: readonly Row[], source: Source, options: DataOptions): Promise<TrainingExample[]> {
  if (source.templates?.from === "p3") return rowExamples(rows, options);
  const templates = await templatesOf(source.templates ?? {}, options.dataFolder, options.where);
  const { examples, without } = withTemplates(rows, templates, source.templates?.roundRobin ?? false);
  if (without > 0) options.onWarning?.(`${without} pairs of a row and a template give no input or no target, and were left out.`);
  return examples;
}

/** Rows as they are: with FLAN's and P3's names for input and target, or as any data to learn from. */
function rowExamples(rows: readonly Row[], { where, onWarning }: DataOptions): TrainingExample[] {
  const [{ value }] = rows as [Row];
  const [input, target] = NAMES.find((names) => names.every((name) => name in value)) ?? [];
  if (input === undefined || target === undefined) return examplesOfRows(rows, where, onWarning && { onWarning });
  const pairs = rows.map((row) => ({ kind: "pair" as const, input: text(row.value[input]), target: text(row.value[target]) }));
  const kept = pairs.filter((pair) => pair.target !== "");
  if (kept.length < pairs.length) onWarning?.(`${pairs.length - kept.length} rows have no target, and were left out.`);
  return kept;
}
const NAMES = [
  ["inputs", "targets"],
  ["inputs_pretokenized", "targets_pretokenized"],
] as const;

/** FLAN's targets are lists of one. */
const text = (value: unknown) => String([value].flat()[0] ?? "").trim();
