/** @file Fetches the files of a dataset split from the Hugging Face hub, and the README; no other files.
 *
 *  It uses, in this order: the files in the dataset's card, the files' names at the revision, and the Parquet copy that the hub makes of
 *  most datasets (branch refs/convert/parquet: <config>/<split>/0000.parquet, formerly <config>/<name>-<split>.parquet). If the dataset
 *  is a Python script, the copy comes before the names, since only the script can interpret its data files. */

import { readFile } from "node:fs/promises";
import { basename } from "node:path/posix";
import { DataError, relocated, UserError } from "../../base/errors.ts";
import { dataFormat } from "../../data/rows.ts";
import { type HubListing, listRepository } from "../../hub/listing.ts";
import type { ResolveOptions } from "../../hub/resolve-model.ts";
import { chooseDataFiles, type DataRequest, describeRequest, onlyFolder, wholeDataFile } from "./choose-data.ts";
import { type CardConfig, cardConfigs } from "./dataset-card.ts";

const PARQUET_COPY = "refs/convert/parquet";

/** Downloads a split's files and returns their paths on disk. */
export type DataSource = (request: DataRequest) => Promise<string[]>;

/** The hub as a source of datasets. Each dataset is listed only once, for any number of splits. */
export function hubDatasets(options: ResolveOptions = {}): DataSource {
  const opened = new Map<string, Promise<Dataset>>();
  const open = (name: string, revision: string): Promise<Dataset> => {
    const key = `${name}@${revision}`;
    const dataset = opened.get(key) ?? openDataset(name, revision, options);
    opened.set(key, dataset);
    return dataset;
  };
  return async (request) => {
    try {
      return await fetchSplits(request, open);
    } catch (error) {
      throw withRequest(error, request);
    }
  };
}

/** Whether a name could be a dataset on the hub. */
export function isHubId(name: string): boolean {
  return /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(name);
}

interface Dataset {
  readonly listing: HubListing;
  readonly configs: readonly CardConfig[];
}

async function openDataset(name: string, revision: string, options: ResolveOptions): Promise<Dataset> {
  const listing = await listRepository({ type: "dataset", name, revision }, options);
  if (!listing.paths.includes("README.md")) return { listing, configs: [] };
  const [path = ""] = await listing.fetch(["README.md"]);
  return { listing, configs: cardConfigs(await readFile(path, "utf8"), `README.md of ${name}@${revision}`) };
}

async function fetchSplits(request: DataRequest, open: (name: string, revision: string) => Promise<Dataset>): Promise<string[]> {
  const { dataset: name, revision = "main" } = request;
  if (revision.split("/").includes("..") || !/^\w[\w./-]*$/.test(revision)) {
    throw new DataError({
      code: "dataset-bad-revision",
      data: { revision },
      what: `There can be no revision called ${revision}.`,
      fix: "Give a branch, a tag or a commit.",
    });
  }
  const main = await attempt(open(name, revision));
  const chosen = main.dataset && choose(main.dataset, request);
  // The copy is made from main and has other paths.
  const mayCopy = revision === "main" && !request.files && request.subfolder === undefined;
  if (main.dataset && chosen && !(mayCopy && isScript(main.dataset, name))) return main.dataset.listing.fetch(chosen);
  const copy = mayCopy ? await attempt(open(name, PARQUET_COPY)) : {};
  const copied = copy.dataset && choose(copy.dataset, request);
  if (copy.dataset && copied) return copy.dataset.listing.fetch(copied);
  if (main.dataset && chosen) return main.dataset.listing.fetch(chosen);
  if (main.problem) throw main.problem;
  throw notThere(request, main.dataset, copy);
}

interface Attempt {
  readonly dataset?: Dataset;
  readonly problem?: UserError;
}

/** A dataset, or the reason why there is none. Internal errors are thrown. */
async function attempt(opening: Promise<Dataset>): Promise<Attempt> {
  try {
    return { dataset: await opening };
  } catch (error) {
    if (error instanceof UserError) return { problem: error };
    throw error;
  }
}

function isScript({ listing: { paths }, configs }: Dataset, name: string): boolean {
  return configs.length === 0 && paths.includes(`${basename(name)}.py`);
}

/** The paths of the splits. A dataset without splits is all train; a dataset in a single folder has that one configuration. */
function choose({ listing: { paths }, configs }: Dataset, request: DataRequest): string[] | undefined {
  const chosen = chooseDataFiles(paths, configs, request);
  if (chosen || configs.length > 0 || request.files) return chosen;
  const config = request.config ?? onlyFolder(paths);
  const inOnly = config === request.config ? undefined : chooseDataFiles(paths, configs, { ...request, config });
  const whole = request.splits.every((split) => split === "train") ? wholeDataFile(paths, request) : undefined;
  return inOnly ?? (whole === undefined ? undefined : [whole]);
}

function notThere(request: DataRequest, main: Dataset | undefined, copy: Attempt): DataError {
  const paths = (copy.dataset ?? main)?.listing.paths ?? [];
  const names = main?.configs.map(({ name }) => name) ?? [];
  const files = paths.filter((path) => dataFormat(path) !== undefined);
  const isUnknownConfig = names.length > 0 && !names.includes(request.config ?? "");
  const has = isUnknownConfig
    ? `It has the configurations ${shortList(names)}.`
    : files.length > 0
      ? `It has the files ${shortList(files)}.`
      : "It holds no data files that can be read here.";
  const partial = paths.some((path) => path.includes("/partial-")) ? " A split called partial- is only the beginning of the data." : "";
  const noCopy = copy.problem ? ` For a Parquet copy (${PARQUET_COPY}): ${copy.problem.what}` : "";
  return new DataError({
    code: "dataset-not-found",
    data: { dataset: request.dataset, option: "data" },
    what: `The dataset ${describeRequest(request)}, was not found on the hub. ${has}${partial}${noCopy}`,
    where: `https://huggingface.co/datasets/${request.dataset}`,
    fix: "Correct configuration or split; or get the data by other means, and give their folder.",
  });
}

function shortList(names: readonly string[]): string {
  const shown = names.slice(0, 12).join(", ");
  return names.length > 12 ? `${shown} and ${names.length - 12} more` : shown;
}

/** The problem with configuration and split in it. */
function withRequest(error: unknown, request: DataRequest): unknown {
  if (!(error instanceof DataError)) return error;
  const { what, where } = error;
  if (what.includes(describeRequest(request))) return error;
  return relocated(error, `${where ? `${where}; ` : ""}${describeRequest(request)}`);
}
