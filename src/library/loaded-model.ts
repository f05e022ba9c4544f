/** @file The model of the public surface: a base with its tokenizer and what is woven in, that computes, generates and scores. */

import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import type { ScorerOptions } from "../evaluation/scoring/score-tokens.ts";
import { loglikelihood, type TextPair } from "../evaluation/scoring/scorer.ts";
import { type CompletionEvent, generate, type Prompt, type TokenEvent } from "../generation/generate.ts";
import type { GenerationOptions } from "../generation/options.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Batch } from "../inference/batch.ts";
import { type HostRoute, Model } from "../inference/model.ts";
import { type OpenOptions, weaveIn } from "../inference/open.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

export interface LoadOptions extends Omit<OpenOptions, "base">, SessionOptions {
  /** Told what is worth knowing about the adapter or pool; by default it is not said. */
  readonly onWarning?: (warning: string) => void;
}

// The one class that extends another: training and evaluation take any Model, and this is one.
/** A model with its tokenizer. Owns native memory: `await using` or `dispose` it. */
export class LoadedModel extends Model {
  readonly tokenizer: Tokenizer;

  constructor(tokenizer: Tokenizer, ...rest: ConstructorParameters<typeof Model>) {
    super(...rest);
    this.tokenizer = tokenizer;
  }

  /** Streams tokens and, at the end of each completion, the whole: see `generate`. */
  generate(
    prompt: Prompt | readonly Prompt[],
    options: GenerationOptions & { signal?: AbortSignal } = {},
  ): AsyncGenerator<TokenEvent | CompletionEvent> {
    return generate(this, this.tokenizer, prompt, options);
  }

  /** Log-probability of each continuation after its context, as lm-evaluation-harness defines it. */
  loglikelihood(pairs: readonly TextPair[], options: ScorerOptions = {}) {
    return loglikelihood(this, this.tokenizer, pairs, options);
  }
}

/** Opens a base (a folder, or a Hugging Face id) with nothing, one adapter or a routed pool on top.
 *  @example
 *  await using model = await loadModel("google/t5-large-lm-adapt", { pool: "my-pool" });
 *  for await (const event of model.generate("Name the capital of France.")) if (event.kind === "token") process.stdout.write(event.text); */
export async function loadModel(
  base: string,
  { onWarning = () => {}, threads, prepack, profile, ...options }: LoadOptions = {},
): Promise<LoadedModel> {
  const directory = await resolveModel(base);
  const session = { ...(threads ? { threads } : {}), ...(prepack === undefined ? {} : { prepack }), ...(profile ? { profile } : {}) };
  const model = new LoadedModel(await loadTokenizer(directory), await openCheckpoint(directory), session);
  (await weaveIn(model, options)).forEach(onWarning);
  return model;
}

/** Which experts serve which tokens of a batch, module by module: experts int64 and weights float32, [batch, sequence, k]. */
export async function route(model: Model, batch: Batch): Promise<ReadonlyMap<string, HostRoute>> {
  return (await model.forward(batch, { routes: true })).routes ?? new Map();
}
