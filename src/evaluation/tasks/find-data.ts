/** @file Finds the files of a dataset split below a folder: a copy of a Hub dataset, or a Hugging Face cache.
 *
 *  Looked at in turn: <folder>/datasets--org--name/snapshots/<revision>, <folder>/hub/(the same), <folder>/org/name,
 *  <folder>/name, <folder>. In there a file belongs to a configuration if a folder on its path, or the beginning of
 *  its name, is the configuration; and to a split if its name holds it: rte/validation-00000-of-00001.parquet,
 *  data/train.jsonl, boolean_expressions.json (no split in the name: the whole dataset is one split). */

import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { DataError } from "../../base/errors.ts";
import { isDataFile } from "../../data/rows.ts";

const SPLITS = ["train", "training", "validation", "valid", "dev", "test"] as const;

export interface DataRequest {
  /** Where data lies. */
  readonly folder: string;
  /** Hub id of the dataset, such as `tasksource/bigbench`. */
  readonly dataset: string;
  readonly config?: string | undefined;
  readonly splits: readonly string[];
}

/** The files of the splits, in the order of `splits` and then by name. */
export async function findDataFiles(request: DataRequest): Promise<string[]> {
  const { folder, dataset, splits } = request;
  const config = request.config === "default" ? undefined : request.config; // the Hub's name for having none
  for (const root of await roots(folder, dataset)) {
    const files = (await listDataFiles(root)).filter((file) => belongsTo(file, config));
    const found = splits.map((split) => files.filter((file) => hasSplit(file, split, config)));
    if (found.every((some) => some.length > 0)) return found.flat().map((file) => join(root, file));
    const unsplit = files.filter((file) => isWithoutSplit(file, config));
    if (unsplit.length === 1 && found.flat().length === 0) return unsplit.map((file) => join(root, file));
  }
  const place = join(folder, dataset, config ?? "", `${splits[0] ?? "test"}.parquet`);
  throw new DataError({
    what: `The dataset ${dataset}${config ? `, configuration ${config}` : ""}, split ${splits.join(" + ")}, was not found.`,
    where: folder,
    fix: `Download it (huggingface-cli download ${dataset} --repo-type dataset), or put a file at ${place} (.jsonl and .json work too).`,
  });
}

async function roots(folder: string, dataset: string): Promise<string[]> {
  const cached = `datasets--${dataset.replaceAll("/", "--")}`;
  const snapshots = [await snapshot(join(folder, cached)), await snapshot(join(folder, "hub", cached))];
  return [...snapshots.filter((path) => path !== undefined), join(folder, dataset), join(folder, basename(dataset)), folder];
}

/** The snapshot that `main` points at, or the only one. */
async function snapshot(repository: string): Promise<string | undefined> {
  const revisions = await readdir(join(repository, "snapshots")).catch(() => []); // absent: not in this cache
  const main = await readFile(join(repository, "refs", "main"), "utf8").catch(() => ""); // absent: pinned download
  const revision = revisions.find((name) => name === main.trim()) ?? revisions.sort().at(-1);
  return revision && join(repository, "snapshots", revision);
}

async function listDataFiles(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true }).catch(() => []); // absent: the next root is tried
  return names.filter(isDataFile).sort();
}

function belongsTo(file: string, config: string | undefined): boolean {
  const folders = dirname(file).split(sep);
  if (config === undefined) return folders.every((name) => [".", "data", "default", "plain_text"].includes(name));
  return folders.includes(config) || startsWithWord(basename(file), config);
}

/** Whether the name of a file is `<config>_<split>...` or, in a folder of the configuration, holds the split. */
function hasSplit(file: string, split: string, config: string | undefined): boolean {
  const name = basename(file);
  if (config !== undefined && startsWithWord(name, config)) return startsWithWord(name.slice(config.length + 1), split);
  return [...name].some((_, at) => (at === 0 || isEdge(name[at - 1])) && startsWithWord(name.slice(at), split));
}

/** Whether a file is a whole dataset: <config>.json, or any name that is none of the usual splits. */
function isWithoutSplit(file: string, config: string | undefined): boolean {
  const [stem = ""] = basename(file).split(".");
  if (config !== undefined && startsWithWord(stem, config)) return stem === config;
  return !SPLITS.some((split) => hasSplit(file, split, undefined));
}

function startsWithWord(name: string, word: string): boolean {
  return name.startsWith(word) && isEdge(name[word.length]);
}

function isEdge(character: string | undefined): boolean {
  return character === undefined || "-_.".includes(character);
}
