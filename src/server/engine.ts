/** @file The backend itself: models by name, prompts to tokens, and all generation through one scheduler. It blocks the thread that calls it
 *  while the model computes (process-backend.ts gives it a process of its own). */

import { CompletionText } from "../generation/completion-text.ts";
import { EventQueue } from "../generation/event-queue.ts";
import { Scheduler } from "../generation/scheduler.ts";
import { endingIds, sequencesFor } from "../generation/sequence.ts";
import { stopWatch } from "../generation/stop-strings.ts";
import { type Probe, probe } from "../library/probe.ts";
import { textStream } from "../text/stream.ts";
import { specialText, turnEndIds } from "../text/turn-end.ts";
import type * as b from "./backend.ts";
import type { EngineParts } from "./engine-parts.ts";
import { forcedTokens } from "./forced.ts";
import { finishedEvent, tokenEvent } from "./generation-events.ts";
import { Grammars } from "./grammar.ts";
import { inspected } from "./inspect.ts";
import { poolCards } from "./pool-cards.ts";
import { forcedIds, formOf, promptIds, settingsFor, toolStyleFor } from "./prepared.ts";
import { Cancelled, noPool } from "./problem.ts";
import { PromptReader } from "./prompt-reader.ts";
import { idsOf } from "./prompts.ts";
import { tokenizerInfo } from "./tokenizer-info.ts";

export class Engine implements b.Backend {
  readonly ready = Promise.resolve();
  readonly isReady = true;
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;
  readonly #grammars: Grammars;
  readonly #reader: PromptReader;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#scheduler = new Scheduler(parts.limits);
    this.#reader = new PromptReader(parts, this.#scheduler);
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
    const prompts = request.prompts.map((input) => promptIds(this.#parts, input));
    const settings = settingsFor(this.#parts, request, prompts, model);
    const echoed = request.echo && (await this.#reader.echo(request, model, prompts, request.echo.top));
    const before = (prompt: number) => (architecture.kind === "decoder-only" ? prompts[prompt]!.slice(-CONTEXT) : []);
    const textOf = (prompt: number) => {
      const options = { after: before(prompt), skipSpecialTokens: request.showsSpecialTokens !== true };
      const special = request.showsSpecialTokens === true ? () => "" : (id: number) => specialText(tokenizer, id);
      return new CompletionText(textStream(tokenizer, options), stopWatch(settings.stop), special);
    };
    const ends = endingIds(settings);
    const form = formOf(this.#parts, request);
    const count = prompts.length * settings.n;
    const forced = forcedIds(this.#parts, request);
    const constraints = form ? await this.#grammars.constraints(form, ends, count) : forcedTokens(forced, count);
    const sequences = sequencesFor(architecture, prompts, settings, textOf, constraints);
    const constraintOf = new Map(sequences.map(({ ids }, i) => [ids as readonly number[], constraints[i]]));
    if (signal.aborted) {
      for (const constraint of constraints) constraint.dispose();
      throw signal.reason;
    }
    const { experts } = model.woven;
    const hasChat = request.prompts.some((prompt) => "chat" in prompt);
    const toolStyle = hasChat ? toolStyleFor(this.#parts, request.prompts) : undefined;
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
          events.push({ kind: "prompt", prompt, score: this.#reader.told(request.prompts[prompt]!, prompts[prompt]!, result.tokens) });
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

  score(request: b.ScoreRequest): Promise<readonly b.PromptScore[]> {
    return this.#reader.score(request);
  }
  embed(request: b.EmbeddingRequest): Promise<b.Embeddings> {
    return this.#reader.embed(request);
  }

  async inspect(request: b.InspectRequest): Promise<b.Inspection> {
    const { vocabulary, models } = this.#parts;
    const model = await models.open(request);
    const prompt = promptIds(this.#parts, request.prompt);
    if (request.answer.length > 0) promptIds(this.#parts, { ids: request.answer });
    const parts = await inspected(model, prompt, request);
    return { experts: model.woven.experts, promptTokens: prompt.map(vocabulary.textOf), ...parts };
  }
  async probe({ text, ...options }: b.ProbeRequest): Promise<Probe> {
    const { model, models, tokenizer } = this.#parts;
    if (!models.pool) throw noPool();
    promptIds(this.#parts, { text: `${text}${options.answer ?? ""}` });
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

const CONTEXT = 8; // tokens; enough for decoders to see that a text does not begin here

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
