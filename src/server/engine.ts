/** @file The backend itself: models by name, prompts to tokens, and all generation through one scheduler. It blocks the thread that calls it
 *  while the model computes (process-backend.ts gives it a process of its own). */

import { CompletionText } from "../generation/completion-text.ts";
import { EventQueue } from "../generation/event-queue.ts";
import { readsInChunks } from "../generation/job.ts";
import { type GenerationSettings, generationSettings, withTurnEnds } from "../generation/options.ts";
import type { NextToken, PromptResult, PromptWork } from "../generation/prompt-reading.ts";
import type { Choice } from "../generation/sampler.ts";
import { Scheduler, type SchedulerLimits } from "../generation/scheduler.ts";
import { endingIds, type Sequence, sequencesFor, type TakenToken } from "../generation/sequence.ts";
import { stopWatch } from "../generation/stop-strings.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { type Probe, probe } from "../library/probe.ts";
import { templateFor } from "../text/chat.ts";
import { textStream } from "../text/stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { specialText, turnEndIds } from "../text/turn-end.ts";
import type * as b from "./backend.ts";
import { wholePromptEmbedding } from "./embeddings.ts";
import { forcedTokens } from "./forced.ts";
import { Grammars } from "./grammar.ts";
import { inspected } from "./inspect.ts";
import { poolCards } from "./pool-cards.ts";
import { badField, Cancelled, noPool, RequestProblem } from "./problem.ts";
import { wholePromptScores } from "./prompt-scores.ts";
import { idsOf, toolStyleOf } from "./prompts.ts";
import { routeTable } from "./route-tables.ts";
import type { ServedModels } from "./served-models.ts";
import { tokenizerInfo } from "./tokenizer-info.ts";
import { callForm, type FunctionTool } from "./tool-style.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface EngineParts {
  readonly model: Model;
  readonly models: ServedModels;
  readonly tokenizer: Tokenizer;
  readonly vocabulary: Vocabulary;
  readonly contextLength: number;
  readonly limits?: SchedulerLimits;
  /** Called once at the end. */
  readonly dispose?: () => Promise<void>;
}

export class Engine implements b.Backend {
  readonly ready = Promise.resolve();
  readonly isReady = true;
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;
  readonly #grammars: Grammars;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#scheduler = new Scheduler(parts.limits);
    const { tokenizer, vocabulary, model } = parts;
    const stops = [tokenizer.eosId, ...turnEndIds(tokenizer)].filter((id) => id !== undefined);
    this.#grammars = new Grammars(vocabulary, model.base.architecture.vocabularySize, stops);
  }

  async models(): Promise<readonly b.ServedModel[]> {
    return this.#parts.models.list;
  }

  submit(request: b.GenerationRequest): b.Stream {
    const events = new EventQueue<b.GenerationEvent>();
    const controller = new AbortController();
    void this.#generate(request, events, controller.signal).catch((error: unknown) => events.end(error));
    return {
      [Symbol.asyncIterator]: () => events.read(controller.signal),
      cancel: () => controller.abort(new Cancelled()),
    };
  }

  async #generate(request: b.GenerationRequest, events: EventQueue<b.GenerationEvent>, signal: AbortSignal): Promise<void> {
    const { tokenizer, vocabulary } = this.#parts;
    const model = await this.#parts.models.open(request);
    const { architecture } = model.base;
    const prompts = request.prompts.map((input) => this.#idsOf(input));
    const settings = this.#settings(request, prompts, model);
    const echoed = request.echo && (await this.#echo(request, model, prompts, request.echo.top));
    const before = (prompt: number) => (architecture.kind === "decoder-only" ? prompts[prompt]!.slice(-CONTEXT) : []);
    const textOf = (prompt: number) => {
      const options = { after: before(prompt), skipSpecialTokens: request.showsSpecialTokens !== true };
      const special = request.showsSpecialTokens === true ? () => "" : (id: number) => specialText(tokenizer, id);
      return new CompletionText(textStream(tokenizer, options), stopWatch(settings.stop), special);
    };
    const ends = endingIds(settings);
    const form = this.#formOf(request);
    const count = prompts.length * settings.n;
    const forced = this.#forcedIds(request);
    const constraints = form ? await this.#grammars.constraints(form, ends, count) : forcedTokens(forced, count);
    const sequences = sequencesFor(architecture, prompts, settings, textOf, constraints);
    const constraintOf = new Map(sequences.map(({ ids }, i) => [ids as readonly number[], constraints[i]]));
    if (signal.aborted) {
      for (const constraint of constraints) constraint.dispose();
      throw signal.reason;
    }
    const { experts } = model.woven;
    const hasChat = request.prompts.some((prompt) => "chat" in prompt);
    const toolStyle = hasChat ? this.#toolStyle(request.prompts) : undefined;
    events.push({ kind: "accepted", promptTokens: sum(prompts.map(({ length }) => length)), experts, toolStyle });
    for (const [prompt, score] of (echoed?.scores ?? []).entries()) events.push({ kind: "prompt", prompt, score });
    const routes = request.routes && experts.length > 0;
    const { client } = request;
    const until = form && ((ids: readonly number[]) => constraintOf.get(ids)?.isDone ?? false);
    this.#scheduler.submit(
      { model, prompts, sequences, ends, routes, signal, until, work: echoed?.work, ...(client !== undefined && { client }) },
      {
        prompt: (prompt, result) => {
          if (result.kind !== "scores") return;
          events.push({ kind: "prompt", prompt, score: this.#told(request.prompts[prompt]!, prompts[prompt]!, result.tokens) });
        },
        token: (taken) => {
          events.push(tokenEvent(taken, vocabulary));
          if (taken.sequence.finishReason) events.push(finishedEvent(taken.sequence, prompts[taken.sequence.prompt]!.length));
        },
        end: (error) => {
          for (const constraint of constraints) constraint.dispose();
          events.end(error);
        },
      },
    );
  }

  #forcedIds({ forced = [], form }: b.GenerationRequest): readonly number[] {
    const { vocabularySize } = this.#parts.model.base.architecture;
    const unknown = forced.find((id) => id >= vocabularySize);
    if (unknown !== undefined) throw badField("forced", `Token id ${unknown} is outside the vocabulary of ${vocabularySize}.`);
    if (forced.length > 0 && form) throw badField("forced", "An answer of a given form begins as the form says.");
    return forced;
  }

  /** What the answer must be: a call that is wanted, or what the request says. */
  #formOf({ prompts, form }: b.GenerationRequest): b.TextForm | undefined {
    const chat = prompts.find((prompt) => "chat" in prompt)?.chat;
    const style = chat?.call && this.#toolStyle(prompts);
    return style ? callForm(style, chat.tools as readonly FunctionTool[], chat.call.name) : form;
  }

  #settings(request: b.GenerationRequest, prompts: readonly (readonly number[])[], model: Model): GenerationSettings {
    const { tokenizer } = this.#parts;
    const { checkpoint, architecture } = model.base;
    const longest = Math.max(...prompts.map(({ length }) => length));
    const room = architecture.kind === "decoder-only" ? this.#parts.contextLength - longest + 1 : request.tokenLimit;
    const { maxNewTokens = request.tokenLimit, stopIds = [], ...asked } = request.options;
    const samples = checkpoint.generationConfig?.do_sample === true;
    const { vocabularySize } = architecture;
    const unknown = Object.keys(asked.logitBias ?? {}).find((id) => Number(id) >= vocabularySize);
    if (unknown !== undefined) throw badField("logit_bias", `Token id ${unknown} is outside the vocabulary of ${vocabularySize}.`);
    if (stopIds.some((id) => id >= vocabularySize)) throw badField("stop_token_ids", `The vocabulary has ${vocabularySize} tokens.`);
    const options = {
      ...(samples ? {} : { temperature: 1 }), // OpenAI's, where the model names none
      ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)),
      maxNewTokens: Math.min(maxNewTokens, Math.max(1, room)),
      stopIds,
    };
    const turnEnds = [...turnEndIds(tokenizer), ...(model.woven.turnEnds ?? [])];
    return withTurnEnds(generationSettings(options, checkpoint, tokenizer), options, turnEnds);
  }

  #idsOf(input: b.PromptInput): readonly number[] {
    const { tokenizer, model, contextLength } = this.#parts;
    const ids = idsOf(input, tokenizer, model.base.architecture);
    if (ids.length === 0) throw badField("prompt", "The prompt has no tokens.");
    const { vocabularySize } = model.base.architecture;
    const unknown = ids.find((id) => id >= vocabularySize || id < 0);
    if (unknown !== undefined) throw badField("prompt", `Token id ${unknown} is outside the vocabulary of ${vocabularySize}.`);
    if (ids.length <= contextLength) return ids;
    throw new RequestProblem({
      status: 400,
      message: `The prompt has ${ids.length} tokens; the most that this server reads with this model is ${contextLength}.`,
      param: "chat" in input ? "messages" : "prompt",
      code: "context_length_exceeded",
    });
  }

  #toolStyle(prompts: readonly b.PromptInput[]): b.ToolStyle | undefined {
    const chat = prompts.find((prompt) => "chat" in prompt)?.chat;
    if (!chat?.tools || chat.tools.length === 0) return undefined;
    return toolStyleOf(templateFor(this.#parts.tokenizer, chat.tools));
  }

  async score(request: b.ScoreRequest): Promise<readonly b.PromptScore[]> {
    const model = await this.#parts.models.open(request);
    const prompts = request.prompts.map((input) => this.#idsOf(input));
    const { scores, work } = await this.#echo(request, model, prompts, request.top);
    if (!work) return scores;
    const results = await this.#read(model, prompts, work);
    return results.map((result, i) => this.#told(request.prompts[i]!, prompts[i]!, result.kind === "scores" ? result.tokens : []));
  }

  /** The prompts' scores, where the model does not compute them while it reads the prompts; else what it computes. */
  async #echo(
    { prompts: inputs }: b.ScoreRequest | b.GenerationRequest,
    model: Model,
    prompts: readonly (readonly number[])[],
    top: number | undefined,
  ): Promise<{ readonly scores: readonly b.PromptScore[]; readonly work?: PromptWork }> {
    if (top !== undefined && readsInChunks(model)) return { scores: [], work: { kind: "scores", top } };
    const scores: b.PromptScore[] = [];
    for (const [i, ids] of prompts.entries()) {
      const next = top === undefined ? [] : await this.#scheduler.aside(() => wholePromptScores(model, ids, top));
      scores.push(this.#told(inputs[i]!, ids, next));
    }
    return { scores };
  }

  #told(input: b.PromptInput, ids: readonly number[], scores: readonly NextToken[]): b.PromptScore {
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
    const prompts = request.prompts.map((input) => this.#idsOf(input));
    const promptTokens = sum(prompts.map(({ length }) => length));
    const vectors: Float32Array[] = [];
    if (readsInChunks(model)) {
      for (const result of await this.#read(model, prompts, { kind: "embedding" }))
        if (result.kind === "embedding") vectors.push(result.vector);
    } else {
      for (const ids of prompts) vectors.push(await this.#scheduler.aside(() => wholePromptEmbedding(withoutCompany(model), ids)));
    }
    return { vectors, promptTokens };
  }

  async inspect(request: b.InspectRequest): Promise<b.Inspection> {
    const { vocabulary, models } = this.#parts;
    const model = await models.open(request);
    const prompt = this.#idsOf(request.prompt);
    if (request.answer.length > 0) this.#idsOf({ ids: request.answer });
    const parts = await inspected(model, prompt, request);
    return { experts: model.woven.experts, promptTokens: prompt.map(vocabulary.textOf), ...parts };
  }
  async probe({ text, ...options }: b.ProbeRequest): Promise<Probe> {
    const { model, models, tokenizer } = this.#parts;
    if (!models.pool) throw noPool();
    this.#idsOf({ text: `${text}${options.answer ?? ""}` });
    const experts = models.pool.served.members.map(({ expert }) => expert);
    const [found] = await probe(model, tokenizer, experts, [text], options);
    return found!;
  }
  async poolCards(): Promise<b.PoolCards | undefined> {
    const { pool } = this.#parts.models;
    return pool && poolCards(pool.id, pool.served);
  }

  async tokenize({ prompt, addSpecialTokens }: b.TokenizeRequest): Promise<b.Tokenized> {
    const { tokenizer, vocabulary, model, contextLength } = this.#parts;
    const ids = "text" in prompt ? tokenizer.encode(prompt.text, { addSpecialTokens }) : idsOf(prompt, tokenizer, model.base.architecture);
    return { tokens: ids, texts: ids.map(vocabulary.textOf), contextLength };
  }
  async detokenize(ids: readonly number[]): Promise<string> {
    return this.#parts.tokenizer.decode(ids);
  }
  tokenizerInfo(): Promise<b.TokenizerInfo> {
    const { tokenizer, model } = this.#parts;
    return tokenizerInfo(model.base.checkpoint.directory, tokenizer);
  }

  addExpert(expert: b.NewExpert): Promise<void> {
    return this.#parts.models.add(expert);
  }
  async removeExpert(name: string): Promise<void> {
    this.#parts.models.remove(name);
  }

  async stats(): Promise<b.BackendStats> {
    const { model, models } = this.#parts;
    const experts = models.list.filter(({ kind }) => kind === "expert").length;
    return { ...this.#scheduler.state, sessions: model.runner.counts.kept, residentBytes: process.memoryUsage.rss(), experts };
  }

  async close(): Promise<void> {
    await this.#parts.dispose?.();
  }
}

/** The model, where no other rows share its runs. */
function withoutCompany(model: Model): Model {
  return model.woven.alone ? withWoven(model, model.woven.alone) : model;
}

const CONTEXT = 8; // tokens; enough for decoders to see that a text does not begin here

function tokenEvent({ sequence, choice, text, route }: TakenToken, vocabulary: Vocabulary): b.GenerationEvent {
  const { id, logprob, topLogprobs = [] } = choice;
  const score = logprob === undefined ? undefined : scored(vocabulary, { id, logprob }, topLogprobs);
  return {
    kind: "token",
    index: sequence.index,
    id,
    text,
    ...(score && { score }),
    ...(route && { route: routeTable(route, 0, 1) }),
  };
}

function finishedEvent(sequence: Sequence, promptTokens: number): b.GenerationEvent {
  const { index, choices, cachedTokens, finishReason: reason = "length", routes } = sequence;
  // Behind an encoder, the prompt's routes are the encoder's.
  const isOfPrompt = (module: string) => !module.startsWith("decoder.");
  const promptRoute = routes && routeTable(routes, 0, promptTokens, isOfPrompt);
  return { kind: "finished", index, reason, completionTokens: choices.length, cachedTokens, ...(promptRoute && { promptRoute }) };
}

function scored(
  vocabulary: Vocabulary,
  own: Choice & { readonly logprob: number },
  top: readonly (Choice & { logprob: number })[],
): b.TokenScore {
  const told = ({ id, logprob }: Choice & { readonly logprob: number }): b.ScoredToken => ({
    id,
    token: vocabulary.textOf(id),
    bytes: vocabulary.bytesOf(id),
    logprob,
  });
  return { ...told(own), top: top.map(told) };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
