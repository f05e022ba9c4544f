/** @file What routers without gates need of an expert, in files beside its adapter:
 *
 *    average_activation.safetensors     <module>.average_activation  float32 [in]            (routing/average-activation.ts)
 *    retrieval_embeddings.safetensors   embeddings  float32 [examples, dimension]            (routing/retrieval.ts)
 *
 *  Their metadata says how they were made and of which adapter file (its SHA-256); what belongs to another is passed over, with a warning.
 *  They are no part of a pool's hash: they can be gathered, or gathered anew, after the expert was added. */

import { join } from "node:path";
import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { openSafetensors, readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { BOTTLENECK_FILE } from "./bottleneck-file.ts";
import { exists, fileHash, float32Of } from "./files.ts";
import type { ModuleSizes } from "./modules.ts";

type Tensor = HostTensor<"float32">;

export const ACTIVATION_FILE = "average_activation.safetensors";
export const EMBEDDING_FILE = "retrieval_embeddings.safetensors";
const SUFFIX = ".average_activation";
const PEFT_FILE = "adapter_model.safetensors";

/** Embeddings of up to 1000 of an expert's examples. */
export interface ExampleEmbeddings {
  /** What made them; a query must be embedded by the same. */
  readonly embedder: string;
  /** [examples, dimension], rows of unit length. */
  readonly vectors: Tensor;
}

export interface SideFiles {
  readonly warnings: readonly string[];
  readonly activations?: ReadonlyMap<string, Tensor>;
  readonly embeddings?: ExampleEmbeddings;
}

/** Facts kept in a side file's metadata: steps, examples, positions... */
export type Facts = Readonly<Record<string, string | number>>;

/** Reads whichever side files lie in an expert's folder. */
export async function readSideFiles(directory: string, covered: ReadonlySet<string>, modules: ModuleSizes): Promise<SideFiles> {
  const warnings: string[] = [];
  const activations = await readActivations(directory, covered, modules, warnings);
  const embeddings = await readEmbeddings(directory, warnings);
  return { ...(activations && { activations }), ...(embeddings && { embeddings }), warnings };
}

/** Writes the mean input [in] of each module beside the adapter. */
export async function saveActivations(directory: string, activations: ReadonlyMap<string, Tensor>, facts: Facts = {}): Promise<void> {
  const tensors = new Map([...activations].map(([module, mean]) => [`${module}${SUFFIX}`, mean]));
  await writeSafetensors(join(directory, ACTIVATION_FILE), tensors, { metadata: await metadataOf(directory, facts) });
}

/** Writes the embeddings of the expert's examples beside the adapter. */
export async function saveEmbeddings(directory: string, { embedder, vectors }: ExampleEmbeddings, facts: Facts = {}): Promise<void> {
  const metadata = await metadataOf(directory, { ...facts, embedder });
  await writeSafetensors(join(directory, EMBEDDING_FILE), { embeddings: vectors }, { metadata });
}

async function readActivations(directory: string, covered: ReadonlySet<string>, modules: ModuleSizes, warnings: string[]) {
  const file = join(directory, ACTIVATION_FILE);
  if (!(await currentMetadata(directory, file, warnings))) return undefined;
  const activations = new Map<string, Tensor>();
  for (const [name, tensor] of await readSafetensors(file)) {
    const module = name.slice(0, -SUFFIX.length);
    const width = modules.get(module)?.in;
    if (!name.endsWith(SUFFIX) || !covered.has(module) || tensor.shape.length !== 1 || tensor.shape[0] !== width) {
      const what = `Tensor "${name}" [${tensor.shape.join(", ")}] fits no module that the adapter covers.`;
      throw new AdapterError({
        code: "statistics-bad-file",
        what,
        where: file,
        fix: "Gather the activations again for this base model and adapter.",
      });
    }
    activations.set(module, float32Of(name, tensor, file));
  }
  return activations;
}

async function readEmbeddings(directory: string, warnings: string[]): Promise<ExampleEmbeddings | undefined> {
  const file = join(directory, EMBEDDING_FILE);
  const metadata = await currentMetadata(directory, file, warnings);
  if (!metadata) return undefined;
  const { embedder } = metadata;
  const tensor = (await readSafetensors(file)).get("embeddings");
  if (embedder === undefined || tensor?.shape.length !== 2) {
    const what = 'Expected a tensor "embeddings" [examples, dimension] and the embedder\'s name in the metadata.';
    throw new AdapterError({ code: "statistics-bad-file", what, where: file, fix: "Embed the expert's examples again." });
  }
  return { embedder, vectors: float32Of("embeddings", tensor, file) };
}

async function metadataOf(directory: string, facts: Facts): Promise<Record<string, string>> {
  const texts = Object.entries(facts).map(([name, value]) => [name, String(value)]);
  return { ...Object.fromEntries(texts), adapter_sha256: await adapterHash(directory) };
}

/** The metadata of a side file that is there and belongs to the adapter. */
async function currentMetadata(directory: string, file: string, warnings: string[]): Promise<Readonly<Record<string, string>> | undefined> {
  if (!(await exists(file))) return undefined;
  const metadata = (await openSafetensors(file)).metadata ?? {};
  if (metadata.adapter_sha256 === (await adapterHash(directory))) return metadata;
  warnings.push(`${file} was gathered with another adapter than the one beside it: not used. Gather it again, or delete it.`);
  return undefined;
}

async function adapterHash(directory: string): Promise<string> {
  const peft = join(directory, PEFT_FILE);
  return fileHash((await exists(peft)) ? peft : join(directory, BOTTLENECK_FILE));
}
