/** @file An expert's data for routers without gates, in files beside its adapter:
 *
 *    average_activation.safetensors     <module>.average_activation  float32 [in]            (routing/average-activation.ts)
 *    retrieval_embeddings.safetensors   embeddings  float32 [examples, dimension]            (routing/retrieval.ts)
 *
 *  Their metadata records how they were made and the SHA-256 of the adapter file. */

import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { ExampleEmbeddings, Gates } from "./expert.ts";
import type { ModuleSizes } from "./modules.ts";
import { float32Of } from "./tensor-file.ts";

const SUFFIX = ".average_activation";
const EMBEDDINGS = "embeddings";

/** The tensors of average_activation.safetensors. */
export function activationTensors(activations: Gates): ReadonlyMap<string, HostTensor> {
  return new Map([...activations].map(([module, mean]) => [`${module}${SUFFIX}`, mean]));
}

/** The mean input [in] of each module, for an adapter that covers these modules. */
export function parseActivations(
  tensors: ReadonlyMap<string, HostTensor>,
  { covered, modules, file }: { covered: ReadonlySet<string>; modules: ModuleSizes; file: string },
): Gates {
  const activations = new Map<string, HostTensor<"float32">>();
  for (const [name, tensor] of tensors) {
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

/** The tensors of retrieval_embeddings.safetensors, whose metadata names the embedder. */
export function embeddingTensors({ vectors }: ExampleEmbeddings): Readonly<Record<string, HostTensor>> {
  return { [EMBEDDINGS]: vectors };
}

/** The embeddings of an expert's examples. */
export function parseEmbeddings(
  tensors: ReadonlyMap<string, HostTensor>,
  { embedder, file }: { embedder: string | undefined; file: string },
): ExampleEmbeddings {
  const tensor = tensors.get(EMBEDDINGS);
  if (embedder === undefined || tensor?.shape.length !== 2) {
    const what = 'Expected a tensor "embeddings" [examples, dimension] and the embedder\'s name in the metadata.';
    throw new AdapterError({ code: "statistics-bad-file", what, where: file, fix: "Embed the expert's examples again." });
  }
  return { embedder, vectors: float32Of(EMBEDDINGS, tensor, file) };
}
