/** @file The model that a person holds: a base, what computes it, and what is woven in. `with` gives other models on the same base,
 *  which are used side by side. */

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

/** What `model.with` puts on the base. */
export interface WithOptions extends WovenOptions {
  /** Called with what is worth knowing about the adapter or pool. */
  readonly onWarning?: (warning: string) => void;
}
/** What `loadModel` puts on the base, and how the base computes. */
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

  /** The base's tokenizer, read at the first call.
   *  @throws CheckpointError where the base's folder has none that can be read. */
  tokenizer(): Promise<Tokenizer> {
    return this.base.tokenizer();
  }

  /** Another model on the same base, with what is asked for in place of what this one has on it.
   *  @throws OptionError for options that contradict each other; AdapterError or PoolError for files that do not fit the base.
   *  @example
   *  import { loadModel } from "skein";
   *
   *  const model = await loadModel("assets/demo-base");
   *  const [expert, pool] = await Promise.all([model.with({ adapter: "experts/opposites" }), model.with({ pool: "my-pool" })]);
   *  console.log(pool.woven.experts); // [ "opposites" ]
   *  await expert.dispose(); // the others go on
   *  await model.dispose(); */
  async with({ onWarning = () => {}, ...options }: WithOptions = {}): Promise<LoadedModel> {
    const { woven, warnings } = await openWoven(this, options);
    warnings.forEach(onWarning);
    return this.withWoven(woven);
  }

  /** Another model on the same base, under a value that was made in memory: a `RoutedPool` of skein/routing, say. */
  withWoven(woven: Woven): LoadedModel {
    return new LoadedModel({ ...this, woven });
  }

  /** Streams the completions of one prompt, or of many side by side: each token as it is chosen, and each completion when it is done. Any
   *  number may run at once. Leaving the loop ends the request.
   *  @throws OptionError for options that make no sense; the signal's reason when it aborts.
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

  /** A conversation by the model's chat template. What was read is kept between turns.
   *  @throws OptionError for options that make no sense, CheckpointError for a base without a chat template.
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

  /** Which experts serve which tokens of a batch: module -> experts int64 and weights float32, [batch, sequence, k], best first. Experts
   *  are counted in the order of `woven.experts`. Empty where nothing is routed.
   *  @throws ShapeError for tensors that do not fit each other or the base. */
  async route(batch: Batch): Promise<ReadonlyMap<string, HostRoute>> {
    return (await this.forward(batch, { routes: true })).routes ?? new Map();
  }

  /** Generates one completion and keeps which expert served which of its tokens, at every module. `tracePage` of skein/evaluation draws it.
   *  @throws OptionError where nothing is routed.
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

  /** Frees what this model alone uses; the one that `loadModel` gave ends all that were made from it. What runs ends first. */
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
