/** @file An expert's statistics for routers without gates, in files beside its adapter (adapters/side-file.ts has the formats). A file
 *  that belongs to another adapter is ignored with a warning.
 *
 *  A pool's hash does not cover these files, so they can be gathered after the expert was added. */

import { join } from "node:path";
import type { ExampleEmbeddings, Gates } from "../adapters/expert.ts";
import { ACTIVATION_FILE, BOTTLENECK_FILE, EMBEDDING_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { activationTensors, embeddingTensors, parseActivations, parseEmbeddings } from "../adapters/side-file.ts";
import { openSafetensors, readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { exists, fileHash } from "./files.ts";

export interface SideFiles {
  readonly warnings: readonly string[];
  readonly activations?: Gates;
  readonly embeddings?: ExampleEmbeddings;
}

/** Facts in a side file's metadata: steps, examples, positions, ... */
export type Facts = Readonly<Record<string, string | number>>;

/** Reads the side files in an expert's folder. */
export async function readSideFiles(directory: string, covered: ReadonlySet<string>, modules: ModuleSizes): Promise<SideFiles> {
  const warnings: string[] = [];
  const activations = await readActivations(directory, covered, modules, warnings);
  const embeddings = await readEmbeddings(directory, warnings);
  return { ...(activations && { activations }), ...(embeddings && { embeddings }), warnings };
}

/** Writes the mean input [in] of each module beside the adapter. */
export async function saveActivations(directory: string, activations: Gates, facts: Facts = {}): Promise<void> {
  const metadata = await metadataOf(directory, facts);
  await writeSafetensors(join(directory, ACTIVATION_FILE), activationTensors(activations), { metadata });
}

/** Writes the embeddings of the expert's examples beside the adapter. */
export async function saveEmbeddings(directory: string, embeddings: ExampleEmbeddings, facts: Facts = {}): Promise<void> {
  const metadata = await metadataOf(directory, { ...facts, embedder: embeddings.embedder });
  await writeSafetensors(join(directory, EMBEDDING_FILE), embeddingTensors(embeddings), { metadata });
}

async function readActivations(directory: string, covered: ReadonlySet<string>, modules: ModuleSizes, warnings: string[]) {
  const file = join(directory, ACTIVATION_FILE);
  if (!(await currentMetadata(directory, file, warnings))) return undefined;
  return parseActivations(await readSafetensors(file), { covered, modules, file });
}

async function readEmbeddings(directory: string, warnings: string[]): Promise<ExampleEmbeddings | undefined> {
  const file = join(directory, EMBEDDING_FILE);
  const metadata = await currentMetadata(directory, file, warnings);
  return metadata && parseEmbeddings(await readSafetensors(file), { embedder: metadata.embedder, file });
}

async function metadataOf(directory: string, facts: Facts): Promise<Record<string, string>> {
  const texts = Object.entries(facts).map(([name, value]) => [name, String(value)]);
  return { ...Object.fromEntries(texts), adapter_sha256: await adapterHash(directory) };
}

/** The metadata of a side file, if the file exists and belongs to the adapter. */
async function currentMetadata(directory: string, file: string, warnings: string[]): Promise<Readonly<Record<string, string>> | undefined> {
  if (!(await exists(file))) return undefined;
  const metadata = (await openSafetensors(file)).metadata ?? {};
  if (metadata.adapter_sha256 === (await adapterHash(directory))) return metadata;
  warnings.push(`${file} was gathered with another adapter than the one beside it: not used. Gather it again, or delete it.`);
  return undefined;
}

async function adapterHash(directory: string): Promise<string> {
  const peft = join(directory, TENSOR_FILE);
  return fileHash((await exists(peft)) ? peft : join(directory, BOTTLENECK_FILE));
}
