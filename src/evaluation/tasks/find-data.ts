/** @file Finds the files of a dataset split: in folders, then in another source of datasets (hub-data.ts).
 *
 *  A folder holds copies of datasets, or is a Hugging Face cache. The search order is <folder>/datasets--org--name/snapshots/<revision>,
 *  <folder>/hub/(the same), <folder>/org/name, <folder>/name, and files in <folder> named after the configuration or the dataset.
 *  choose-data.ts then chooses the files. A single file without a split in its name is the whole dataset: boolean_expressions.json. */

import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { DataError } from "../../base/errors.ts";
import { cachedSnapshot, cacheName } from "../../hub/cache.ts";
import { folderListing } from "../../hub/listing.ts";
import { chooseDataFiles, type DataRequest, describeRequest, wholeDataFile } from "./choose-data.ts";
import { type CardConfig, cardConfigs } from "./dataset-card.ts";
import { type DataSource, isHubId } from "./hub-data.ts";
import { isFileFormat, namedFiles } from "./named-files.ts";

/** Where datasets come from. */
export interface DataSources {
  /** Searched in this order. */
  readonly folders: readonly string[];
  /** Used for datasets that no folder has; without it, that is an error. */
  readonly elsewhere?: DataSource | undefined;
}

/** The files of the splits, in the order of `splits` and then by name. */
export async function findDataFiles(request: DataRequest, { folders, elsewhere }: DataSources): Promise<string[]> {
  const { dataset, config, splits, revision } = request;
  if (isFileFormat(dataset)) return namedFiles(request, folders);
  for (const folder of folders) {
    for (const root of await roots(folder, request)) {
      const found = await filesBelow(root, request);
      if (found) return found;
    }
    const found = revision === undefined ? await filesIn(folder, request) : undefined;
    if (found) return found;
  }
  if (elsewhere && isHubId(dataset)) return elsewhere(request);
  const [folder = "data"] = folders;
  const place = join(folder, dataset, config ?? "", `${splits[0] ?? "test"}.parquet`);
  throw new DataError({
    code: "dataset-not-found",
    data: { dataset },
    what: `The dataset ${describeRequest(request)}, was not found.`,
    where: folders.join(", "),
    fix: `Download it (huggingface-cli download ${dataset} --repo-type dataset), or put a file at ${place} (.jsonl and .json work too).`,
  });
}

/** In a folder with other files, only files named after the configuration, or files at the top named after the dataset. */
async function filesIn(folder: string, request: DataRequest): Promise<string[] | undefined> {
  const { config } = request;
  if (config !== undefined && config !== "default") return choose(folder, (await folderListing(folder)).paths, [], request);
  const top = await readdir(folder).catch(() => []); // no such folder: try the next one
  return choose(folder, top, [], { ...request, config: basename(request.dataset) });
}

/** The files in a folder of only this dataset. */
async function filesBelow(root: string, request: DataRequest): Promise<string[] | undefined> {
  const { paths } = await folderListing(root);
  const readme = paths.includes("README.md") ? await readFile(join(root, "README.md"), "utf8") : "";
  return choose(root, paths, cardConfigs(readme, join(root, "README.md")), request);
}

function choose(root: string, paths: readonly string[], configs: readonly CardConfig[], request: DataRequest): string[] | undefined {
  const chosen = chooseDataFiles(paths, configs, request);
  if (chosen) return chosen.map((path) => join(root, path));
  const isUnsplit = configs.length === 0 && request.splits.every((split) => !chooseDataFiles(paths, [], { ...request, splits: [split] }));
  const whole = isUnsplit ? wholeDataFile(paths, request) : undefined;
  return whole === undefined ? undefined : [join(root, whole)];
}

async function roots(folder: string, { dataset, revision }: DataRequest): Promise<string[]> {
  const cached = cacheName("dataset", dataset);
  const snapshots = await Promise.all([folder, join(folder, "hub")].map((cache) => snapshotsOf(join(cache, cached), revision)));
  if (revision !== undefined) return snapshots.flat(); // the revision of other folders is unknown
  return [...snapshots.flat(), join(folder, dataset), join(folder, basename(dataset))];
}

/** The snapshot of `revision`; without a revision, those of main and of the Parquet copy, else the last one. */
async function snapshotsOf(cache: string, revision: string | undefined): Promise<string[]> {
  const asked = revision === undefined ? ["main", "refs/convert/parquet"] : [revision];
  const found = await Promise.all(asked.map((name) => cachedSnapshot(cache, name)));
  const known = found.filter((path) => path !== undefined);
  if (known.length > 0 || revision !== undefined) return known;
  const [last] = (await readdir(join(cache, "snapshots")).catch(() => [])).sort().slice(-1); // absent: not in this cache
  return last === undefined ? [] : [join(cache, "snapshots", last)];
}
