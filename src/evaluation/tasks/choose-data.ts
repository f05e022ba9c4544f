/** @file Chooses the files of a dataset's split by their paths.
 *
 *  It uses, in this order: the task's own patterns (data_files), the patterns in the dataset's card, and the names. By name, a file
 *  belongs to a configuration if a folder on its path, or the beginning of its name, is the configuration. It belongs to a split if a
 *  folder is the split or its name contains it: rte/validation-00000-of-00001.parquet, rte/validation/0000.parquet, data/train.jsonl. */

import { basename } from "node:path/posix";
import { DataError } from "../../base/errors.ts";
import { DATA_FORMATS, dataFormat } from "../../data/rows.ts";
import { type CardConfig, matchingPaths, namedConfig, type SplitPatterns } from "./dataset-card.ts";

/** Spellings of the usual splits (huggingface.co/docs/hub/datasets-file-names-and-splits). */
const SPELLINGS: readonly (readonly string[])[] = [
  ["train", "training"],
  ["validation", "valid", "val", "dev"],
  ["test", "testing", "eval", "evaluation"],
];
const PLAIN_FOLDERS = ["data", "default", "plain_text"];

export interface DataRequest {
  /** Hub id of the dataset, such as `tasksource/bigbench`. */
  readonly dataset: string;
  readonly config?: string | undefined;
  readonly splits: readonly string[];
  /** A branch, tag or commit on the Hub; default main. */
  readonly revision?: string | undefined;
  /** The files, if the task names them. */
  readonly files?: SplitPatterns | undefined;
  /** Only files in this folder of the dataset. */
  readonly subfolder?: string | undefined;
}

/** The files of the splits, in the order of `splits` and then by name; undefined if a split has none. */
export function chooseDataFiles(paths: readonly string[], configs: readonly CardConfig[], request: DataRequest): string[] | undefined {
  const { splits } = request;
  const files = paths.filter((path) => dataFormat(path) !== undefined);
  const found = splits.map((split) => oneFormat(splitFiles(files, configs, request, split)));
  if (found.some((some) => some.length === 0)) return undefined;
  const chosen = found.flat();
  refuseMissingShards(chosen, request);
  return chosen;
}

/** The single file of a whole dataset: <config>.json, or any name that is not a usual split. */
export function wholeDataFile(paths: readonly string[], request: DataRequest): string | undefined {
  const config = configOf(request);
  const whole = paths.filter((path) => dataFormat(path) !== undefined && isWithoutSplit(path, config));
  return whole.length === 1 ? whole[0] : undefined;
}

/** "dataset, configuration c, split a + b", for messages. */
export function describeRequest({ dataset, config, splits }: DataRequest): string {
  return `${dataset}${config ? `, configuration ${config}` : ""}, split ${splits.join(" + ")}`;
}

/** The configuration, if there are several; "default" is the Hub's name for a dataset without configurations. */
function configOf({ config }: DataRequest): string | undefined {
  return config === "default" ? undefined : config;
}

function splitFiles(files: readonly string[], configs: readonly CardConfig[], request: DataRequest, split: string): string[] {
  const { files: patterns, subfolder } = request;
  if (patterns) return byPatterns(inFolder(files, subfolder), subfolder, patterns, split);
  if (subfolder !== undefined) return byNames(files, { split, config: undefined, folder: subfolder });
  if (configs.length === 0) return byNames(files, { split, config: configOf(request) });
  const config = namedConfig(configs, request.config);
  if (!config) return [];
  if (config.patterns) return byPatterns(inFolder(files, config.folder), config.folder, config.patterns, split);
  return byNames(files, { split, config: undefined, folder: config.folder });
}

function byPatterns(files: readonly string[], folder: string | undefined, patterns: SplitPatterns, split: string): string[] {
  const prefix = folder === undefined ? "" : `${trimmed(folder)}/`;
  const matched = (patterns.get(split) ?? []).flatMap((pattern) => matchingPaths(files, prefix + pattern.replace(/^\.?\//, "")));
  return [...new Set(matched)].sort();
}

interface Names {
  readonly split: string;
  readonly config: string | undefined;
  readonly folder?: string | undefined;
}

function byNames(files: readonly string[], { split, config, folder }: Names): string[] {
  const depth = folder === undefined ? 0 : trimmed(folder).length + 1;
  const spellings = SPELLINGS.find((names) => names.includes(split)) ?? [];
  for (const spelling of [split, ...spellings]) {
    const found = inFolder(files, folder).filter((file) => isOf(file.slice(depth), spelling, config));
    if (found.length > 0) return found.sort();
  }
  return [];
}

/** The folder with all data: it is the only configuration if none is named. */
export function onlyFolder(paths: readonly string[]): string | undefined {
  const files = paths.filter((path) => dataFormat(path) !== undefined);
  const tops = new Set(files.map((file) => file.slice(0, Math.max(0, file.indexOf("/")))));
  const [top] = tops;
  return tops.size === 1 && top !== "" ? top : undefined;
}

/** Whether a file belongs to the configuration and the split, by its folders and its name. */
function isOf(file: string, split: string, config: string | undefined): boolean {
  const within = withinConfig(file, config);
  if (within === undefined) return false;
  const { folders, name, isPrefixed } = within;
  if (folders.includes(split)) return true;
  if (folders.some(isUsualSplit)) return false; // a folder names the split, so the file's name does not
  if (config === undefined && !folders.every((folder) => PLAIN_FOLDERS.includes(folder))) return false;
  return isPrefixed ? startsWithWord(name, split) : holdsSplit(name, split);
}

/** A path without its configuration; undefined if it belongs to another one. */
function withinConfig(file: string, config: string | undefined): { folders: string[]; name: string; isPrefixed: boolean } | undefined {
  const folders = file.split("/").slice(0, -1);
  const name = basename(file);
  if (config === undefined) return { folders, name, isPrefixed: false };
  // <config>_<split>...: the split follows directly, so that a configuration with a longer name does not match.
  if (startsWithWord(name, config)) return { folders: [], name: name.slice(config.length + 1), isPrefixed: true };
  const at = folders.lastIndexOf(config);
  return at < 0 ? undefined : { folders: folders.slice(at + 1), name, isPrefixed: false };
}

/** Whether a file's name contains the split as a word. Names with shard numbers contain the split exactly. */
function holdsSplit(name: string, split: string): boolean {
  const [, stem] = /^(.*)-\d{5}-of-\d{5}\b/.exec(name) ?? [];
  if (stem !== undefined) return stem === split || stem.endsWith(`-${split}`);
  return [...name].some((_, at) => (at === 0 || isEdge(name[at - 1])) && startsWithWord(name.slice(at), split));
}

function isWithoutSplit(file: string, config: string | undefined): boolean {
  const within = withinConfig(file, config);
  if (within === undefined) return false;
  const { folders, name, isPrefixed } = within;
  if (isPrefixed) return (basename(file).split(".")[0] ?? "") === config;
  if (config === undefined && !folders.every((folder) => PLAIN_FOLDERS.includes(folder))) return false;
  return !folders.some(isUsualSplit) && !SPELLINGS.flat().some((split) => holdsSplit(name, split));
}

function isUsualSplit(folder: string): boolean {
  return SPELLINGS.some((names) => names.includes(folder));
}

/** A dataset may exist in several formats: returns the files of the first format that has any. */
function oneFormat(files: readonly string[]): string[] {
  const formats = ["parquet", ...DATA_FORMATS];
  const format = formats.find((name) => files.some((file) => dataFormat(file) === name));
  return files.filter((file) => dataFormat(file) === format);
}

/** Refuses a split with missing numbered parts. */
function refuseMissingShards(files: readonly string[], request: DataRequest): void {
  const counts = new Map<string, number>();
  for (const file of files) {
    const [, stem, total] = /^(.*)-\d{5}-of-(\d{5})\b/.exec(file) ?? [];
    if (stem !== undefined) counts.set(`${stem} of ${total}`, (counts.get(`${stem} of ${total}`) ?? 0) + 1);
  }
  for (const [shards, count] of counts) {
    const total = Number(shards.slice(-5));
    if (count === total) continue;
    throw new DataError({
      code: "dataset-incomplete",
      what: `Of the ${total} parts of ${shards.slice(0, -9)} only ${count} are there.`,
      where: describeRequest(request),
      fix: "Download the rest, or remove the copy, so that it is fetched whole.",
    });
  }
}

function inFolder(files: readonly string[], folder: string | undefined): string[] {
  return files.filter((file) => folder === undefined || file.startsWith(`${trimmed(folder)}/`));
}

function trimmed(folder: string): string {
  return folder.replace(/^\.?\/+|\/+$/g, "");
}

function startsWithWord(name: string, word: string): boolean {
  return name.startsWith(word) && isEdge(name[word.length]);
}

function isEdge(character: string | undefined): boolean {
  return character === undefined || "-_. ".includes(character);
}
