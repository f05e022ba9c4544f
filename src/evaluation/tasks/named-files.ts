/** @file Data files that a task of lm-evaluation-harness names, with a file format instead of a dataset's name:
 *
 *    dataset_path: json            # or csv, parquet
 *    dataset_kwargs: { data_files: { test: test.jsonl } } */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { DataError } from "../../base/errors.ts";
import { folderListing } from "../../hub/listing.ts";
import { chooseDataFiles, type DataRequest, describeRequest } from "./choose-data.ts";
import { matchingPaths } from "./dataset-card.ts";

/** Whether a dataset's name is a file format, like in datasets.load_dataset("json"). */
export function isFileFormat(dataset: string): boolean {
  return ["json", "csv", "parquet"].includes(dataset);
}

/** The files of the splits: absolute paths, or paths from one of `folders`. */
export async function namedFiles(request: DataRequest, folders: readonly string[]): Promise<string[]> {
  const { files, splits, subfolder = "" } = request;
  for (const folder of folders) {
    const root = resolve(folder, subfolder);
    const found = files
      ? await filesOf(root, request)
      : chooseDataFiles((await folderListing(root)).paths, [], { ...request, subfolder: undefined });
    if (found) return files ? found : found.map((path) => join(root, path));
  }
  const named = [...(files?.values() ?? [])].flat().join(", ") || subfolder;
  throw new DataError({
    code: "dataset-files-missing",
    data: { option: "data" },
    what: `The files of split ${splits.join(" + ")} are not there: dataset_kwargs names ${named || "none"}.`,
    where: folders.join(", "),
    fix: "Give data_files in dataset_kwargs, by split, as paths from the YAML file's folder or from a data folder.",
  });
}

async function filesOf(root: string, request: DataRequest): Promise<string[] | undefined> {
  const found = await Promise.all(
    request.splits.map(async (split) => {
      const patterns = request.files?.get(split) ?? [];
      return (await Promise.all(patterns.map((pattern) => filesNamed(root, pattern, request)))).flat();
    }),
  );
  return found.every((some) => some.length > 0) ? found.flat() : undefined;
}

async function filesNamed(root: string, pattern: string, request: DataRequest): Promise<string[]> {
  if (/^\w+:\/\//.test(pattern)) {
    const fix = "Download it, and name the file.";
    throw new DataError({
      code: "dataset-files-missing",
      what: `data_files names an address, which is not fetched: ${pattern}`,
      where: describeRequest(request),
      fix,
    });
  }
  const path = resolve(root, pattern);
  if (existsSync(path)) return [path];
  const [, fixed = "", open = ""] = /^((?:[^*?[{]*\/)?)(.*)$/.exec(pattern) ?? []; // the folder without wildcards, and the rest
  const folder = resolve(root, fixed);
  const { paths } = await folderListing(folder);
  return matchingPaths(paths, open)
    .map((name) => join(folder, name))
    .sort();
}
