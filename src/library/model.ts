/** @file The public model: a base, its runner, and the woven-in adapter or pool. `with` returns other models on the same base,
 *  which can be used at the same time. */

import type { Likelihood, ScorerOptions } from "../evaluation/scoring/score-tokens.ts";
import { loglikelihood, type TextPair } from "../evaluation/scoring/scorer.ts";
import { type Trace, trace } from "../evaluation/scoring/trace.ts";
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

/** The adapter or pool that `model.with` adds to the base. */
export interface WithOptions extends WovenOptions {
  /** Called with each warning about the adapter or pool. */
  readonly onWarning?: (warning: string) => void;
}
/** The adapter or pool that `loadModel` adds to the base, and the settings of the base's computation. */
export interface LoadOptions extends WithOptions, Omit<RunnerOptions, "engine">, BaseOptions {}

/** A model. `await using` or `dispose` it. Disposing the model from `loadModel` also disposes all models made from it. Disposing
 *  a model from `with` frees only its own resources. */
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

  /** The base's tokenizer. It is read at the first call.
   *  @throws CheckpointError if the base's folder has no tokenizer that can be read. */
  tokenizer(): Promise<Tokenizer> {
    return this.base.tokenizer();
  }

  /** Another model on the same base, with another adapter or pool in place of this model's.
   *  @throws OptionError for options that contradict each other; AdapterError or PoolError for files that do not fit the base.
   *  @example
   *  import { loadModel } from "skein";
   *
   *  const model = await loadModel("assets/demo-base");
   *  const [expert, pool] = await Promise.all([model.with({ adapter: "experts/opposites" }), model.with({ pool: "my-pool" })]);
   *  console.log(pool.woven.experts); // [ "opposites" ]
   *  await expert.dispose(); // the others still work
   *  await model.dispose(); */
  async with({ onWarning = () => {}, ...options }: WithOptions = {}): Promise<LoadedModel> {
    const { woven, warnings } = await openWoven(this, options);
    warnings.forEach(onWarning);
    return this.withWoven(woven);
  }

  /** Another model on the same base, with a value that was made in memory, for example a `RoutedPool` of skein/routing. */
  withWoven(woven: Woven): LoadedModel {
    return new LoadedModel({ ...this, woven });
  }

  /** Streams the completions of one prompt, or of many in parallel: each token when it is chosen, and each completion when it is finished. Any
   *  number of calls may run at once. Leaving the loop ends the request.
   *  @throws OptionError for invalid options; the signal's reason when it aborts.
   *  @example
   *  import { loadModel } from "skein";
   *
   *  const model = await loadModel("assets/demo-base");
   *  for await (const event of model.generate("opposite : 1. hot 2. big", { maxNewTokens: 8 })) {
   *    if (event.kind === "token") process.stdout.write(event.text);
   *    else console.log(event.finishReason, event.usage.completionTokens); // stop 5
   *  }
   *  await model.dispose(); */
  async *generate(
    prompt: Prompt | readonly Prompt[],
    options: GenerationOptions & GenerateControl = {},
  ): AsyncGenerator<TokenEvent | CompletionEvent> {
    yield* generate(this, await this.tokenizer(), prompt, options);
  }

  /** A conversation in the form of the model's chat template. The cache is kept between turns.
   *  @throws OptionError for invalid options, CheckpointError for a base without a chat template.
   *  @example
   *  import type { LoadedModel } from "skein";
   *
   *  export async function ask(model: LoadedModel, question: string): Promise<void> {
   *    const conversation = await model.chat({ system: "Answer in one word." });
   *    for await (const { text } of conversation.answer(question)) process.stdout.write(text);
   *  } */
  async chat(options: ConversationOptions = {}): Promise<Conversation> {
    return new Conversation(this, await this.tokenizer(), options);
  }

  /** How likely each continuation is after its context, as lm-evaluation-harness's `loglikelihood` defines it: the sum of its tokens'
   *  log-probabilities (natural logarithm). Continuations of one context share its computation. The results are in the pairs' order.
   *  @throws ShapeError for a continuation without tokens, or an empty context on a decoder-only base without a bos or eos token.
   *  @example
   *  import { loadModel } from "skein";
   *
   *  const model = await loadModel("assets/demo-base");
   *  const context = "opposite : 1. hot 2. big";
   *  const [right, wrong] = await model.score([
   *    { context, continuation: "1. cold 2. small" },
   *    { context, continuation: "1. small 2. cold" },
   *  ]);
   *  console.log(right!.sum > wrong!.sum, right!.isGreedy); // true true
   *  await model.dispose(); */
  async score(pairs: readonly TextPair[], options: ScorerOptions = {}): Promise<Likelihood[]> {
    return loglikelihood(this, await this.tokenizer(), pairs, options);
  }

  /** Logits of every position, float32 [batch, sequence or targets, vocabulary]; with `routes`, each module's route as well.
   *  @throws ShapeError for tensors that do not fit each other or the base.
   *  @example
   *  import { loadModel } from "skein";
   *
   *  const model = await loadModel("assets/demo-base");
   *  const ids = (await model.tokenizer()).encode("opposite : 1. hot");
   *  const inputIds = { dtype: "int64", shape: [1, ids.length], data: BigInt64Array.from(ids, BigInt) } as const;
   *  const decoderInputIds = { dtype: "int64", shape: [1, 1], data: new BigInt64Array(1) } as const; // a T5 starts from 0
   *  const { logits } = await model.forward({ inputIds, decoderInputIds });
   *  console.log(logits.shape); // [ 1, 1, 660 ]
   *  await model.dispose(); */
  forward(batch: Batch, options: { readonly routes?: boolean } = {}): Promise<ForwardResult> {
    return this.runner.forward(this.woven, batch, options);
  }

  /** Which experts serve which tokens of a batch: module -> experts int64 and weights float32, [batch, sequence, k], best first. An expert's
   *  index is its place in `woven.experts`. Empty if nothing is routed.
   *  @throws ShapeError for tensors that do not fit each other or the base. */
  async route(batch: Batch): Promise<ReadonlyMap<string, HostRoute>> {
    return (await this.forward(batch, { routes: true })).routes ?? new Map();
  }

  /** Generates one completion and records which expert served which token, at every module. `tracePage` of skein/evaluation draws it.
   *  @throws OptionError if nothing is routed.
   *  @example
   *  import { loadModel } from "skein";
   *  import { tracePage } from "skein/evaluation";
   *
   *  const model = await loadModel("assets/demo-base", { pool: "my-pool" });
   *  const trace = await model.trace("opposite : 1. hot 2. big", { maxNewTokens: 8 });
   *  console.log(trace.completion, trace.experts, tracePage(trace).length);
   *  await model.dispose(); */
  async trace(prompt: string, options: GenerationOptions = {}): Promise<Trace> {
    return trace(this, await this.tokenizer(), prompt, options);
  }

  /** Frees the resources that only this model uses. For the model from `loadModel`, all models made from it end too. Running work finishes first. */
  async dispose(): Promise<void> {
    await (this.#isOwner ? this.runner.dispose() : this.#letGo());
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** Opens a base (a folder, or a Hugging Face id) with nothing, one adapter or a pool of experts on top.
 *  @throws CheckpointError for a base that cannot be read or is not supported, OptionError for options that contradict each other,
 *  AdapterError or PoolError for experts that do not fit the base, EngineError where the machine cannot compute.
 *  @example
 *  import { loadModel } from "skein";
 *
 *  const model = await loadModel("assets/demo-base", { pool: "my-pool" });
 *  for await (const event of model.generate("opposite : 1. hot 2. big", { maxNewTokens: 8 })) {
 *    if (event.kind === "completion") console.log(event.text);
 *  }
 *  await model.dispose(); */
export async function loadModel(
  name: string,
  { onWarning = () => {}, precision, device, onProgress, sessions, engine, threads, prepack, profile, ...options }: LoadOptions = {},
): Promise<LoadedModel> {
  checkOptions(options);
  const base = await openBase(name, given({ precision, device, engine, onProgress }));
  const runner = new Runner(base, given({ sessions, threads, prepack, profile }));
  const { woven, warnings } = await openWoven({ base, runner, woven: plain }, options);
  [...base.warnings, ...warnings].forEach(onWarning);
  return new LoadedModel({ base, runner, woven }, { isOwner: true });
}

/** Keeps only the options that have a value. */
function given<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };
}
