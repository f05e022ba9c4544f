/** @file The model that a person holds: a base, what computes it, and what is woven in. `with` gives other models on the same base,
 *  which are used side by side. */

import type { ScorerOptions } from "../evaluation/scoring/score-tokens.ts";
import { loglikelihood, type TextPair } from "../evaluation/scoring/scorer.ts";
import { Conversation, type ConversationOptions } from "../generation/conversation.ts";
import { type CompletionEvent, type GenerateControl, generate, type Prompt, type TokenEvent } from "../generation/generate.ts";
import type { GenerationOptions } from "../generation/options.ts";
import { type Base, type BaseOptions, openBase } from "../inference/base.ts";
import type { Batch } from "../inference/batch.ts";
import type { Model } from "../inference/model.ts";
import { type ForwardResult, type HostRoute, Runner, type RunnerOptions } from "../inference/runner.ts";
import { plain, type Woven } from "../inference/woven.ts";
import { checkOptions, openWoven, type WovenOptions } from "../methods/open.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

export interface WithOptions extends WovenOptions {
  /** Called with what is worth knowing about the adapter or pool. */
  readonly onWarning?: (warning: string) => void;
}
export interface LoadOptions extends WithOptions, RunnerOptions, BaseOptions {}

/** A model. `await using` or `dispose` it: disposing the one that `loadModel` gave ends all that were made from it, disposing
 *  one that `with` gave frees what it alone uses. */
export class LoadedModel implements Model {
  readonly base: Base;
  readonly runner: Runner;
  readonly woven: Woven;
  readonly #isOwner: boolean;
  readonly #letGo: () => Promise<void>;

  constructor({ base, runner, woven }: Model, { isOwner = false }: { readonly isOwner?: boolean } = {}) {
    this.base = base;
    this.runner = runner;
    this.woven = woven;
    this.#isOwner = isOwner;
    this.#letGo = runner.hold(woven);
  }

  /** The base's tokenizer. */
  tokenizer(): Promise<Tokenizer> {
    return this.base.tokenizer();
  }

  /** Another model on the same base, with what is asked for in place of what this one has on it. */
  async with({ onWarning = () => {}, ...options }: WithOptions = {}): Promise<LoadedModel> {
    const { woven, warnings } = await openWoven(this, options);
    warnings.forEach(onWarning);
    return this.withWoven(woven);
  }

  /** Another model on the same base, under `woven`. */
  withWoven(woven: Woven): LoadedModel {
    return new LoadedModel({ ...this, woven });
  }

  /** Streams tokens and, at the end of each completion, the whole: see `generate`. */
  async *generate(
    prompt: Prompt | readonly Prompt[],
    options: GenerationOptions & GenerateControl = {},
  ): AsyncGenerator<TokenEvent | CompletionEvent> {
    yield* generate(this, await this.tokenizer(), prompt, options);
  }

  /** A conversation by the model's chat template, which it must have.
   *  @example
   *  const conversation = await model.chat({ system: "Answer in one word." });
   *  for await (const { text } of conversation.answer("What is the capital of France?")) process.stdout.write(text); */
  async chat(options: ConversationOptions = {}): Promise<Conversation> {
    return new Conversation(this, await this.tokenizer(), options);
  }

  /** Log-probability of each continuation after its context, as lm-evaluation-harness defines it. */
  async loglikelihood(pairs: readonly TextPair[], options: ScorerOptions = {}) {
    return loglikelihood(this, await this.tokenizer(), pairs, options);
  }

  /** Logits of every position and, when asked for, each module's route. */
  forward(batch: Batch, options: { readonly routes?: boolean } = {}): Promise<ForwardResult> {
    return this.runner.forward(this.woven, batch, options);
  }

  async dispose(): Promise<void> {
    await (this.#isOwner ? this.runner.dispose() : this.#letGo());
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** Opens a base (a folder, or a Hugging Face id) with nothing, one adapter or a routed pool on top.
 *  @example
 *  await using model = await loadModel("google/t5-large-lm-adapt", { pool: "my-pool" });
 *  for await (const event of model.generate("Name the capital of France.")) if (event.kind === "token") process.stdout.write(event.text); */
export async function loadModel(
  name: string,
  { onWarning = () => {}, precision, onProgress, sessions, engine, threads, prepack, profile, ...options }: LoadOptions = {},
): Promise<LoadedModel> {
  checkOptions(options);
  const base = await openBase(name, given({ precision, onProgress }));
  const runner = new Runner(base, given({ sessions, engine, threads, prepack, profile }));
  const { woven, warnings } = await openWoven({ base, runner, woven: plain }, options);
  [...base.warnings, ...warnings].forEach(onWarning);
  return new LoadedModel({ base, runner, woven }, { isOwner: true });
}

/** The options that have a value. */
function given<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };
}

/** Which experts serve which tokens of a batch, module by module: experts int64 and weights float32, [batch, sequence, k]. */
export async function route({ runner, woven }: Model, batch: Batch): Promise<ReadonlyMap<string, HostRoute>> {
  return (await runner.forward(woven, batch, { routes: true })).routes ?? new Map();
}
