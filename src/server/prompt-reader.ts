/** @file Prompts that are read for their scores or their embeddings, between the steps of the answers. */

import { readsInChunks } from "../generation/job.ts";
import { generationSettings } from "../generation/options.ts";
import type { NextToken, PromptResult, PromptWork } from "../generation/prompt-reading.ts";
import type { Scheduler } from "../generation/scheduler.ts";
import { sequencesFor } from "../generation/sequence.ts";
import { type Model, withWoven } from "../inference/model.ts";
import type * as b from "./backend.ts";
import { wholePromptEmbedding } from "./embeddings.ts";
import type { EngineParts } from "./engine-parts.ts";
import { scored } from "./generation-events.ts";
import { promptIds } from "./prepared.ts";
import { wholePromptScores } from "./prompt-scores.ts";

export class PromptReader {
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;

  constructor(parts: EngineParts, scheduler: Scheduler) {
    this.#parts = parts;
    this.#scheduler = scheduler;
  }

  async score(request: b.ScoreRequest): Promise<readonly b.PromptScore[]> {
    const model = await this.#parts.models.open(request);
    const prompts = request.prompts.map((input) => promptIds(this.#parts, input));
    const { scores, work } = await this.echo(request, model, prompts, request.top);
    if (!work) return scores;
    const results = await this.#read(model, prompts, work);
    return results.map((result, i) => this.told(request.prompts[i]!, prompts[i]!, result.kind === "scores" ? result.tokens : []));
  }

  /** The prompts' scores, where the model does not compute them while it reads the prompts; else what it computes. */
  async echo(
    { prompts: inputs }: b.ScoreRequest | b.GenerationRequest,
    model: Model,
    prompts: readonly (readonly number[])[],
    top: number | undefined,
  ): Promise<{ readonly scores: readonly b.PromptScore[]; readonly work?: PromptWork }> {
    if (top !== undefined && readsInChunks(model)) return { scores: [], work: { kind: "scores", top } };
    const scores: b.PromptScore[] = [];
    for (const [i, ids] of prompts.entries()) {
      const next = top === undefined ? [] : await this.#scheduler.aside(() => wholePromptScores(model, ids, top));
      scores.push(this.told(inputs[i]!, ids, next));
    }
    return { scores };
  }

  told(input: b.PromptInput, ids: readonly number[], scores: readonly NextToken[]): b.PromptScore {
    const { tokenizer, vocabulary } = this.#parts;
    const tokens = ids.map((id, t) => {
      const next = t === 0 ? undefined : scores[t - 1];
      return { token: vocabulary.textOf(id), ...(next && { score: scored(vocabulary, { id, logprob: next.logprob }, next.top) }) };
    });
    return { text: tokenizer.decode(ids, { skipSpecialTokens: "text" in input }), tokens };
  }

  /** Reads prompts between the steps of others, and generates nothing. */
  #read(model: Model, prompts: readonly (readonly number[])[], work: PromptWork): Promise<readonly PromptResult[]> {
    const { architecture, checkpoint } = model.base;
    const sequences = sequencesFor(architecture, prompts, generationSettings({ maxNewTokens: 1 }, checkpoint));
    const results: PromptResult[] = [];
    const job = { model, prompts, sequences, ends: new Set<number>(), work, onlyReads: true, keeps: false };
    return new Promise((resolve, reject) => {
      this.#scheduler.submit(job, {
        token: () => {},
        prompt: (prompt, result) => {
          results[prompt] = result;
        },
        end: (error) => (error === undefined ? resolve(results) : reject(error)),
      });
    });
  }

  async embed(request: b.EmbeddingRequest): Promise<b.Embeddings> {
    const model = await this.#parts.models.open(request);
    const prompts = request.prompts.map((input) => promptIds(this.#parts, input));
    const promptTokens = prompts.reduce((total, { length }) => total + length, 0);
    const vectors: Float32Array[] = [];
    if (readsInChunks(model)) {
      for (const result of await this.#read(model, prompts, { kind: "embedding" }))
        if (result.kind === "embedding") vectors.push(result.vector);
    } else {
      for (const ids of prompts) vectors.push(await this.#scheduler.aside(() => wholePromptEmbedding(withoutCompany(model), ids)));
    }
    return { vectors, promptTokens };
  }
}

/** The model, where no other rows share its runs. */
function withoutCompany(model: Model): Model {
  return model.woven.alone ? withWoven(model, model.woven.alone) : model;
}
