/** @file Gathers an expert's statistics for routers without gates and writes them beside its adapter (storage/side-files.ts).
 *
 *  The decoder positions that Average Activation counts:
 *    all         every target position (the default)
 *    last        the last target position
 *    generated   the last position of the expert's own greedy answer: the effect of the authors' code
 *  A decoder-only model reads prompt and answer as one sequence, so `all` includes the prompt's tokens. */

import * as z from "zod";
import type { Adapter } from "../adapters/adapter.ts";
import type { ExampleEmbeddings } from "../adapters/expert.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { generateBatch } from "../generation/generate.ts";
import { baseEmbedder, textEmbedder } from "../inference/embedder.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { singleAdapter } from "../inference/woven.ts";
import { embeddedExamples } from "../methods/retrieval.ts";
import { loadAdapter } from "../storage/peft.ts";
import { saveActivations, saveEmbeddings } from "../storage/side-files.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { averageActivations, MOST_GATHERED_EXAMPLES } from "./activations.ts";
import type { Encoded } from "./batches.ts";
import { encodeExamples } from "./examples.ts";
import { IGNORED } from "./loss.ts";

export const POSITIONS = ["all", "last", "generated"] as const;
/** Which tokens of a decoder count towards mean inputs. */
export type Positions = (typeof POSITIONS)[number];

/** The options of statistics. */
export const statisticsOptions = z.strictObject({
  positions: z.enum(POSITIONS).default("all").meta({
    description: "Tokens of a decoder that count: all targets, the last, or the last of the expert's own answer (generated).",
    value: "which",
  }),
  embedder: z.string().optional().meta({
    description: "A BERT-like encoder for retrieval: a folder or a Hugging Face id.",
    value: "dir",
    unset: "the base model's own mean-pooled states",
  }),
  maxLength: z.int().min(2).default(512).meta({ description: "Longest input and longest target, in tokens." }),
});

/** What `gatherStatistics` is asked. */
export interface StatisticsJob {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** The expert's folder. */
  readonly expert: string;
  readonly examples: readonly TrainingExample[];
  readonly positions?: Positions;
  /** A BERT-like encoder, a folder or a Hugging Face id; the base model's own states when absent. */
  readonly embedder?: string | undefined;
  /** Longest input and target in tokens (default 512). */
  readonly maxLength?: number | undefined;
  /** Longest answer when it is generated (default 128). */
  readonly maxNewTokens?: number;
}
/** What was gathered. */
export interface Statistics {
  readonly modules: number;
  readonly examples: number;
  readonly embedder: string;
  readonly dimension: number;
}

/** Gathers both kinds of statistics over at most MOST_GATHERED_EXAMPLES examples and writes them into the expert's folder.
 *  @throws AdapterError for an expert that does not fit the base, DataError for examples with nothing to learn. */
export async function gatherStatistics(job: StatisticsJob): Promise<Statistics> {
  const { model, tokenizer, expert, positions = "all", maxLength = 512 } = job;
  const adapter = await loadAdapter(expert, model.base.modules);
  const examples = job.examples.slice(0, MOST_GATHERED_EXAMPLES);
  const encoded = encodeExamples(examples, tokenizer, model.base.architecture, { maxInput: maxLength, maxTarget: maxLength }).examples;
  const counted = positions === "generated" ? await answered(job, adapter, encoded) : encoded;
  const activations = await averageActivations(model, adapter, counted, { positions: positions === "all" ? "all" : "last" });
  const embeddings = await embedded(job, examples.map(textOf));
  await saveActivations(expert, activations, { positions, examples: encoded.length });
  await saveEmbeddings(expert, embeddings, { examples: examples.length });
  return { modules: activations.size, examples: encoded.length, embedder: embeddings.embedder, dimension: embeddings.vectors.shape[1]! };
}

/** The examples, with the expert's own greedy answers as targets. */
async function answered({ model, maxNewTokens = 128 }: StatisticsJob, adapter: Adapter, examples: readonly Encoded[]): Promise<Encoded[]> {
  const isSequence = model.base.architecture.kind === "decoder-only";
  const expert = withWoven(model, singleAdapter(adapter, model.base.modules));
  const prompts = examples.map((example) => (isSequence ? promptOf(example) : example.inputs));
  const answers = await generateBatch(expert, prompts, { maxNewTokens, temperature: 0 });
  return answers.map(({ choices }, i) => {
    const [prompt, labels] = [prompts[i]!, choices.map(({ id }) => id)];
    return { inputs: isSequence ? [...prompt, ...labels.slice(0, -1)] : prompt, labels };
  });
}

/** The tokens that a decoder-only model reads before the first learned token. */
function promptOf({ inputs, labels }: Encoded): readonly number[] {
  return inputs.slice(0, labels.findIndex((label) => label !== IGNORED) + 1);
}

async function embedded({ model, tokenizer, embedder }: StatisticsJob, texts: readonly string[]): Promise<ExampleEmbeddings> {
  const embedding = embedder === undefined ? baseEmbedder(model) : await textEmbedder(embedder, model, tokenizer);
  return embeddedExamples(texts, embedding, tokenizer);
}

/** The query text of an example. */
function textOf(example: TrainingExample): string {
  switch (example.kind) {
    case "pair":
      return example.input;
    case "text":
      return example.text;
    case "messages":
      return example.messages
        .filter(({ role }) => role !== "assistant")
        .map(({ content }) => (typeof content === "string" ? content : ""))
        .join("\n");
  }
}
