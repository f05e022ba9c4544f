/** @file The files of an expert or a pool as they go to the hub: configurations that name the base by its id, cards with the hub's keys, a
 *  picture, and a pool.json with the hashes of what is uploaded. No file may name a path on this machine. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";
import {
  ACTIVATION_FILE,
  BOTTLENECK_CONFIG_FILE,
  BOTTLENECK_FILE,
  CONFIG_FILE,
  EMBEDDING_FILE,
  GATE_FILE,
  TENSOR_FILE,
  TURN_END_FILE,
} from "../adapters/file-names.ts";
import { POOL_FILE, type PoolEntry } from "../adapters/pool-file.ts";
import { CheckpointError } from "../base/errors.ts";
import { readJsonObject } from "../checkpoint/checkpoint.ts";
import { isRepositoryName } from "../hub/resolve-model.ts";
import type { UploadFile } from "../hub/upload.ts";
import { MOA_FILE, ROUTER_FILE } from "../routing/moa-file.ts";
import { CARD_FILE, cardNotes } from "../storage/card.ts";
import { HASHED_FILES, hashOfFiles } from "../storage/expert-files.ts";
import { exists, fileHash } from "../storage/files.ts";
import { listPool } from "../storage/pool.ts";
import { barsSvg, expertCard, type PoolFacts, poolCard } from "./hub-card.ts";
import { readScores, type Scores } from "./scores.ts";

/** What the Hub is told of an expert or a pool. */
export interface ShareOptions {
  /** "org/name" */
  readonly repository: string;
  /** SPDX id, as the hub has them: "apache-2.0". */
  readonly license?: string | undefined;
  /** The base model's id on the hub. Default: the recorded name, if it is one. */
  readonly base?: string | undefined;
  /** Ids of data sets on the hub. */
  readonly datasets?: readonly string[] | undefined;
  /** Folder of an evaluation. Default: `evaluation` in the folder that is shared. */
  readonly results?: string | undefined;
}

/** What goes to the hub. */
export interface Share {
  readonly kind: "pool" | "expert";
  readonly files: readonly UploadFile[];
  /** Paths of the last commit. */
  readonly last: ReadonlySet<string>;
}

const PICTURE = "pool.svg";
const CONFIGS = [CONFIG_FILE, BOTTLENECK_CONFIG_FILE];
const EXPERT_FILES = [...HASHED_FILES, ACTIVATION_FILE, EMBEDDING_FILE, TURN_END_FILE];

/** The files of the pool or expert in `folder`.
 *  @throws CheckpointError without a license, and where a file would tell a path on this machine; PoolError for a broken pool. */
export async function shareFiles(folder: string, options: ShareOptions): Promise<Share> {
  if (!options.license) {
    throw new CheckpointError({
      code: "share-no-license",
      what: "The license is not given: nobody may use what has none.",
      where: folder,
      fix: "Name it in `license`, with the hub's id: apache-2.0, mit, cc-by-4.0, llama3.2, other, ...",
    });
  }
  const context = { ...options, license: options.license };
  if (await exists(join(folder, POOL_FILE))) return poolFiles(folder, context);
  const { files } = await expertFiles(folder, "", basename(resolve(folder)), context);
  return { kind: "expert", files, last: new Set([...CONFIGS, CARD_FILE]) };
}

type PoolRow = PoolFacts["experts"][number];
type Context = ShareOptions & { readonly license: string };

interface ExpertFiles {
  readonly files: readonly UploadFile[];
  readonly isSeq2Seq: boolean;
  readonly isOwnFormat: boolean;
  readonly gated: boolean;
  readonly bytes: number;
}

async function expertFiles(folder: string, prefix: string, name: string, context: Context): Promise<ExpertFiles> {
  const present = EXPERT_FILES.filter((file) => existsSync(join(folder, file)));
  const configFile = CONFIGS.find((file) => present.includes(file));
  const tensors = present.find((file) => file === TENSOR_FILE || file === BOTTLENECK_FILE);
  if (configFile === undefined || tensors === undefined) {
    throw new CheckpointError({
      code: "checkpoint-no-tensors",
      what: "This folder holds neither a pool nor an expert with its tensors in safetensors.",
      where: folder,
      fix: "Give a folder with pool.json, or with adapter_config.json and adapter_model.safetensors.",
    });
  }
  const config = await readJsonObject(join(folder, configFile));
  const base = context.base ?? hubIdOf(config.base_model_name_or_path, join(folder, configFile));
  const files: UploadFile[] = [];
  for (const file of present) {
    const [path, from] = [`${prefix}${file}`, join(folder, file)];
    if (file === configFile) files.push({ path, content: checked(pretty({ ...config, base_model_name_or_path: base }), from) });
    else if (file.endsWith(".json")) files.push({ path, content: checked(await readFile(from, "utf8"), from) });
    else files.push({ path, content: { file: from } });
  }
  const facts = {
    isSeq2Seq: config.task_type === "SEQ_2_SEQ_LM",
    isOwnFormat: configFile === BOTTLENECK_CONFIG_FILE,
    gated: present.includes(GATE_FILE),
    bytes: (await stat(join(folder, tensors))).size,
    base,
  };
  const kind = facts.isOwnFormat ? "bottleneck" : String(config.peft_type ?? "lora").toLowerCase();
  const results = prefix === "" ? (context.results ?? join(folder, "evaluation")) : undefined;
  const scores = results === undefined ? undefined : await readScores(results, (method) => method.name === name);
  const notes = await cardNotes(folder);
  const card = notes.edited ?? expertCard({ ...facts, ...shared(context), name, kind, notes: notes.lines, scores });
  return { ...facts, files: [...files, { path: `${prefix}${CARD_FILE}`, content: withoutFolders(card, folder) }] };
}

const pretty = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
const shared = ({ license, datasets }: Context) => ({ license, ...(datasets && { datasets }) });

async function poolFiles(folder: string, given: Context): Promise<Share> {
  const pool = await listPool(folder);
  const base = given.base ?? hubIdOf(pool.base.name, join(folder, POOL_FILE));
  const context = { ...given, base };
  const files: UploadFile[] = [];
  const entries: PoolEntry[] = [];
  const rows: PoolRow[] = [];
  let [isSeq2Seq, isOwnFormat] = [false, false];
  for (const entry of pool.experts) {
    if (entry.path === undefined) {
      entries.push(entry);
      rows.push({ name: entry.name, place: `${entry.hub}@${entry.revision?.slice(0, 8)}`, gated: true, megabytes: 0 });
      continue;
    }
    const place = `experts/${entry.name}`;
    const expert = await expertFiles(resolve(folder, entry.path), `${place}/`, entry.name, context);
    files.push(...expert.files);
    entries.push({ name: entry.name, path: place, sha256: await uploadHash(expert.files, `${place}/`) });
    rows.push({ name: entry.name, place, gated: expert.gated, megabytes: expert.bytes / 1e6 });
    isSeq2Seq ||= expert.isSeq2Seq;
    isOwnFormat ||= expert.isOwnFormat;
  }
  const hasRouters = await exists(join(folder, MOA_FILE));
  if (hasRouters) {
    files.push({ path: MOA_FILE, content: checked(await readFile(join(folder, MOA_FILE), "utf8"), join(folder, MOA_FILE)) });
    files.push({ path: ROUTER_FILE, content: { file: join(folder, ROUTER_FILE) } });
  }
  const scores = await readScores(given.results ?? join(folder, "evaluation"), ({ kind }) => kind === "router");
  const name = given.repository.split("/").at(-1)!;
  const { edited } = await cardNotes(folder);
  const card =
    edited ??
    poolCard({
      ...shared(context),
      name,
      base,
      isSeq2Seq,
      isOwnFormat,
      repository: given.repository,
      picture: PICTURE,
      experts: rows,
      hasRouters,
      scores,
    });
  files.push({ path: PICTURE, content: pictureOf(scores, rows) }, { path: CARD_FILE, content: withoutFolders(card, folder) });
  files.push({ path: POOL_FILE, content: pretty({ ...pool, base: { ...pool.base, name: base }, experts: entries }) });
  return { kind: "pool", files, last: new Set([MOA_FILE, PICTURE, CARD_FILE, POOL_FILE]) };
}

/** The mean of each method over the tasks, or the sizes of the experts. */
function pictureOf(scores: Scores | undefined, rows: readonly PoolRow[]): string {
  if (scores) {
    const bars = scores.means.map((mean) => ({ ...mean, label: mean.value.toFixed(3) }));
    return barsSvg("Mean over tasks, by method", bars);
  }
  const bars = rows.map(({ name, megabytes }) => ({ name, value: megabytes, label: megabytes.toFixed(1) }));
  return barsSvg("Experts, MB", bars);
}

/** The hash that pool.json has for an expert, of its files as they are uploaded. */
async function uploadHash(files: readonly UploadFile[], prefix: string): Promise<string> {
  const hashes = new Map<string, string>();
  for (const { path, content } of files) {
    const hash = typeof content === "string" ? createHash("sha256").update(content).digest("hex") : await fileHash(content.file);
    hashes.set(path.slice(prefix.length), hash);
  }
  return hashOfFiles(hashes);
}

/** The recorded name of the base, if it is an id of the hub and no folder here. */
function hubIdOf(name: unknown, where: string): string {
  if (typeof name === "string" && isRepositoryName(name) && !existsSync(name)) return name;
  throw localPath(where, `The base model is recorded as ${JSON.stringify(name ?? null)}, which is not its id on the hub.`);
}

/** A text of JSON none of whose values is a path on this machine. */
function checked(text: string, where: string): string {
  const look = (value: unknown, key: string): void => {
    if (typeof value === "string" && PATH.test(value)) throw localPath(where, `Its field ${key} is the path ${JSON.stringify(value)}.`);
    if (typeof value === "object" && value !== null) for (const [name, item] of Object.entries(value)) look(item, name);
  };
  look(JSON.parse(text), "");
  return text;
}
const PATH = /^(?:\/|~\/|\.{1,2}\/|[A-Za-z]:[\\/]|file:)\S*$/;

/** A card that does not name the folders of this machine. */
function withoutFolders(text: string, folder: string): string {
  const leaks = [resolve(folder), homedir(), process.cwd()].filter((path) => path.length > 1);
  const found = leaks.find((path) => text.includes(`${path}/`) || text.includes(`${path}\\`));
  if (found === undefined) return text;
  throw localPath(join(folder, CARD_FILE), `The card names the folder ${found}.`);
}

function localPath(where: string, what: string): CheckpointError {
  return new CheckpointError({
    code: "share-local-path",
    data: { folder: where },
    what: `${what} A path on this machine means nothing to others.`,
    where,
    fix: "Give the base model's id on the hub (`base`), for example google-t5/t5-small, or take the path out of the file.",
  });
}
