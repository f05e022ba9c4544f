/** @file Retrieval as a method: an expert's examples are embedded once, and each query when it arrives (routing/retrieval.ts). */

import * as z from "zod";
import type { ExampleEmbeddings, Expert } from "../adapters/expert.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { DataError } from "../base/errors.ts";
import { float32 } from "../base/tensor.ts";
import { BASE_EMBEDDER, baseEmbedder, type Embedder, textEmbedder, textPrompts } from "../inference/embedder.ts";
import type { Prompts } from "../inference/prompts.ts";
import { ResidentExperts } from "../inference/resident-experts.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { ownRows, type RowChoice } from "../inference/row-choices.ts";
import { plain } from "../inference/woven.ts";
import { bestIndex, librariesOf, MOST_EMBEDDED_EXAMPLES, oneExpertBias, similarities } from "../routing/retrieval.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { method } from "./method.ts";
import { uniform } from "./uniform.ts";

const BATCH = 32;

/** Embeds up to MOST_EMBEDDED_EXAMPLES of an expert's inputs. */
export async function embeddedExamples(inputs: readonly string[], embedder: Embedder, tokenizer: Tokenizer): Promise<ExampleEmbeddings> {
  const used = inputs.slice(0, MOST_EMBEDDED_EXAMPLES);
  if (used.length === 0) throw new DataError({ code: "data-empty", what: "There are no examples to embed.", fix: "Give at least one." });
  const parts: Float32Array[] = [];
  for (let at = 0; at < used.length; at += BATCH) {
    parts.push((await embedder.embed(textPrompts(used.slice(at, at + BATCH), tokenizer))).data);
  }
  const size = parts.reduce((sum, { length }) => sum + length, 0) / used.length;
  const vectors = float32([used.length, size]);
  let at = 0;
  for (const part of parts) {
    vectors.data.set(part, at);
    at += part.length;
  }
  return { embedder: embedder.name, vectors };
}

/** Each row uses the expert with the example nearest to its prompt. */
export function retrievalRows(embedder: Embedder): RowChoice {
  return async (prompts, experts) => oneExpertBias(await nearestExperts(embedder, experts)(prompts), experts.length);
}

/** The index of the expert with the example nearest to each prompt. */
function nearestExperts(embedder: Embedder, experts: readonly Expert[]): (prompts: Prompts) => Promise<number[]> {
  const libraries = librariesOf(experts, embedder.name);
  return async (prompts) => similarities(await embedder.embed(prompts), libraries).map(bestIndex);
}

/** A pool whose rows choose by retrieval, or by the rule that `rows` makes from it. */
export function retrievalPool(sizes: ModuleSizes, experts: readonly Expert[], embedder: Embedder, rows: RowChoice = ownRows): RoutedPool {
  librariesOf(experts, embedder.name); // throws early if embeddings are missing
  return new RoutedPool(experts, sizes, { router: uniform({ topK: 1 }), rows, own: retrievalRows(embedder) });
}

export const retrievalMethod = method({
  name: "retrieval",
  description: "For each text the expert whose examples it is nearest to.",
  needs: "statistics of every expert: embedded examples",
  options: z.strictObject({
    embedder: z.string().optional().meta({ description: "A BERT-like encoder; the base model's own states when absent." }),
  }),
  refuses: { topK: "Retrieval takes one expert for a text." },
  takesOneExpert: true,
  details: ({ embedder }) => ({ embedder: embedder ?? BASE_EMBEDDER }),
  open: async ({ base, runner, experts, rows, maxResident }, { embedder }) => {
    const model = { base, runner, woven: plain };
    const chosen = embedder === undefined ? baseEmbedder(model) : await textEmbedder(embedder, model, await base.tokenizer());
    if (maxResident === undefined) return retrievalPool(base.modules, experts, chosen, rows);
    const nearest = nearestExperts(chosen, experts);
    const choose = async (prompts: Prompts) => (await nearest(prompts)).map((expert) => [expert]);
    return new ResidentExperts(experts, base.modules, { most: maxResident, choose });
  },
});
