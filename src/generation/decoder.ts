/** @file A batch of sequences that grows token by token. Of what was seen, only keys and values are kept, so a step costs
 *  one token's work: the encoder runs once, prompts are read in chunks, and every later step feeds one token a row.
 *
 *      start(prompts)    -> logits after each prompt
 *      append(tokens)    -> logits after each row's new tokens      (none, one or many; rows may differ)
 *      select(rows)      drops, reorders or repeats rows
 *      truncate(length)  takes tokens back
 *
 *  The same code serves base, one adapter and a routed pool. */

import { isDeepStrictEqual } from "node:util";
import { invariant, ShapeError } from "../base/errors.ts";
import { type HostTensor, int64, padded } from "../base/tensor.ts";
import type { Model } from "../inference/model.ts";
import type { Architecture, EncoderDecoder } from "../models/architecture.ts";
import type { Fetches } from "../runtime/session.ts";
import { buildDecode, buildEncode, crossNames, type DecodePlan, fetchRoutes, planOf } from "./decoder-graphs.ts";
import { KvCache, selectRows } from "./kv-cache.ts";
import { joinedRoutes, lastRoutes, type Routes, routesOfRows } from "./routes.ts";

export interface DecoderOptions {
  /** Most tokens of a row read in one run. Default 256. */
  readonly chunk?: number;
}

export interface Step {
  /** float32 [rows, vocabulary]: the logits after each row's last token. */
  readonly logits: HostTensor<"float32">;
  /** For each row, the routes of the tokens just fed. */
  readonly routes?: readonly Routes[];
}

export interface FirstStep extends Step {
  /** Tokens of each prompt that were in the cache already; `routes` leaves them out. */
  readonly kept?: readonly number[];
  /** The routes of the prompts' tokens in the encoder, where there is one. */
  readonly encoderRoutes?: readonly Routes[];
}

const CHUNK = 256; // long enough to fill two cores, short enough that scores stay small
const plans = new WeakMap<Architecture, DecodePlan>();

export class Decoder {
  readonly #model: Model;
  readonly #chunk: number;
  readonly #cache: KvCache;
  #isStarted = false;
  #routes = false;
  /** Fed at every run: an encoder's output. */
  #encoded: Record<string, HostTensor> = {};
  /** Fed at every run: what each row chose for itself. */
  #rowFeeds: Record<string, HostTensor> = {};
  /** The longest sequence for which the cached keys hold. */
  #steadyUntil = Number.NaN;
  #tokens: number[][] = [];

  constructor(model: Model, { chunk = CHUNK }: DecoderOptions = {}) {
    this.#model = model;
    this.#chunk = chunk;
    this.#cache = new KvCache(planFor(model.base.architecture).caches);
  }

  /** The tokens each row's cache holds. */
  get tokens(): readonly (readonly number[])[] {
    return this.#tokens;
  }
  /** Slots of a row in the cache. */
  get capacity(): number {
    return this.#cache.capacity;
  }

  /** Begins with these prompts of token ids. What the cache holds of their beginnings is kept, so that the next turn of
   *  a chat costs only its new tokens. With `routes`, steps say how each token was routed. */
  async start(prompts: readonly (readonly number[])[], { routes = false }: { routes?: boolean } = {}): Promise<FirstStep> {
    const { architecture } = this.#model.base;
    for (const prompt of prompts) checkPrompt(prompt, architecture);
    const { ids, mask } = padded(prompts);
    const rowFeeds = { ...(await this.#model.woven.chooseRows?.({ inputIds: ids, attentionMask: mask })) };
    const kept = isDeepStrictEqual(rowFeeds, this.#rowFeeds) ? this.#keptOf(prompts) : undefined;
    this.#rowFeeds = rowFeeds;
    this.#routes = routes;
    this.#isStarted = true;
    if (kept) {
      kept.forEach((length, row) => {
        this.truncate(row, length);
      });
      return { ...(await this.append(prompts.map((prompt, row) => prompt.slice(kept[row])))), kept };
    }
    this.#reset(prompts.length);
    if (architecture.kind === "decoder-only") return this.append(prompts);
    const encoderRoutes = await this.#encode(ids, mask, architecture);
    const step = await this.append(prompts.map(() => [architecture.decoderStartId]));
    return { ...step, ...(encoderRoutes && { encoderRoutes }) };
  }

  /** Feeds each row's next tokens. */
  async append(tokens: readonly (readonly number[])[]): Promise<Step> {
    invariant(tokens.length === this.#tokens.length, `${tokens.length} rows for a batch of ${this.#tokens.length}`);
    const counts = tokens.map(({ length }) => length);
    invariant(Math.max(...counts) > 0, "nothing to append");
    const { architecture } = this.#model.base;
    const steadyUntil = (architecture.kind === "decoder-only" && architecture.steadyUntil) || (() => Number.POSITIVE_INFINITY);
    const held = this.#tokens.map(({ length }) => length);
    const lengths = held.map((length, row) => length + counts[row]!);
    const until = steadyUntil(Math.max(...lengths));
    const outgrown = until !== this.#steadyUntil || lengths.some((length, row) => steadyUntil(length) !== steadyUntil(held[row]!));
    if (!outgrown) return this.#runChunks(tokens, this.#chunk);
    // Keys of a shorter sequence are of no use: all are computed anew, in one run where a chunk alone would be placed otherwise.
    const all = tokens.map((row, i) => [...this.#tokens[i]!, ...row]);
    this.#reset(tokens.length);
    this.#steadyUntil = until;
    const { logits, routes } = await this.#runChunks(all, until === steadyUntil(1) ? this.#chunk : Number.POSITIVE_INFINITY);
    return { logits, ...(routes && { routes: routes.map((row, i) => lastRoutes(row, counts[i]!)) }) };
  }

  async #runChunks(tokens: readonly (readonly number[])[], chunk: number): Promise<Step> {
    const routes: Routes[][] = tokens.map(() => []);
    // Chunks end where the longest row ends, so that the last one holds every row's last token.
    for (let left = Math.max(...tokens.map(({ length }) => length)); ; left -= chunk) {
      const width = Math.min(chunk, left);
      const part = tokens.map((row) => row.slice(Math.max(0, row.length - left), Math.max(0, row.length - left + width)));
      const step = await this.#run(part, width);
      routes.forEach((pieces, row) => {
        if (step.routes) pieces.push(step.routes[row]!);
      });
      if (left <= chunk) return { logits: step.logits, ...(this.#routes && { routes: routes.map(joinedRoutes) }) };
    }
  }

  #reset(rows: number): void {
    this.#cache.reset(rows);
    this.#tokens = Array.from({ length: rows }, () => []);
    this.#steadyUntil = Number.NaN;
  }

  /** Makes row i what row rows[i] was. */
  select(rows: readonly number[]): void {
    if (rows.length === this.#tokens.length && rows.every((row, i) => row === i)) return;
    this.#cache.select(rows);
    this.#tokens = rows.map((row) => [...this.#tokens[row]!]);
    for (const feeds of [this.#encoded, this.#rowFeeds]) {
      for (const [name, tensor] of Object.entries(feeds)) feeds[name] = selectRows(tensor, rows);
    }
  }

  /** Keeps the first `length` tokens of a row. */
  truncate(row: number, length: number): void {
    this.#cache.truncate(row, length);
    this.#tokens[row]!.length = length;
  }

  /** How much of each prompt the cache holds, its last token apart, whose logits are wanted; undefined for nothing. */
  #keptOf(prompts: readonly (readonly number[])[]): number[] | undefined {
    const { architecture } = this.#model.base;
    if (architecture.kind !== "decoder-only" || prompts.length !== this.#tokens.length) return undefined;
    const kept = prompts.map((prompt, row) => {
      const held = this.#tokens[row]!;
      const differs = prompt.findIndex((id, i) => id !== held[i]);
      return Math.min(differs < 0 ? prompt.length : differs, prompt.length - 1);
    });
    return kept.some((length) => length > 0) ? kept : undefined;
  }

  #decode(feeds: Record<string, HostTensor>): Promise<Fetches> {
    const { base, runner, woven } = this.#model;
    const routes = this.#routes;
    return runner.session(
      { graph: "decode", routes },
      woven,
      (graph, parts) => buildDecode(graph, base.architecture, parts(routes ? fetchRoutes(graph) : undefined), planFor(base.architecture)),
      (session) => session.run({ ...woven.feeds, ...feeds }),
    );
  }

  async #encode(ids: HostTensor<"int64">, mask: HostTensor<"int64">, architecture: EncoderDecoder): Promise<Routes[] | undefined> {
    const routes = this.#routes;
    const { runner, woven } = this.#model;
    const fetches = await runner.session(
      { graph: "encode", routes },
      woven,
      (graph, parts) => buildEncode(graph, architecture, parts(routes ? fetchRoutes(graph) : undefined)),
      (session) => session.run({ ...woven.feeds, ...this.#rowFeeds, input_ids: ids, attention_mask: mask }),
    );
    this.#encoded = { attention_mask: mask };
    for (let layer = 0; layer < planFor(architecture).cross.length; layer++) {
      for (const name of Object.values(crossNames(layer))) this.#encoded[name] = fetches[name]!;
    }
    const [rows = 0, width = 0] = mask.shape;
    const counts = Array.from({ length: rows }, (_, row) => mask.data.subarray(row * width, (row + 1) * width).filter(Boolean).length);
    return routes ? routesOfRows(fetches, counts, "start") : undefined;
  }

  async #run(tokens: readonly (readonly number[])[], width: number): Promise<Step> {
    invariant(this.#isStarted, "a decoder is started before it is run");
    const { ids, mask } = padded(tokens, { width, side: "left" });
    const positions = int64(ids.shape);
    this.#cache.lengths.forEach((length, row) => {
      const count = tokens[row]!.length;
      for (let i = 0; i < count; i++) positions.data[(row + 1) * width - count + i] = BigInt(length + i);
    });
    const own = { decoder_ids: ids, decoder_mask: mask, positions };
    const feeds = { ...this.#rowFeeds, ...this.#encoded, ...this.#cache.feeds, ...own };
    const fetches = await this.#decode(feeds);
    const counts = tokens.map(({ length }) => length);
    this.#cache.write(fetches, counts);
    this.#tokens.forEach((row, i) => {
      row.push(...tokens[i]!);
    });
    const { data, shape } = fetches.logits as HostTensor<"float32">;
    const logits: HostTensor<"float32"> = { dtype: "float32", shape: [shape[0]!, shape[2]!], data };
    return { logits, ...(this.#routes && { routes: routesOfRows(fetches, counts, "end") }) };
  }
}

function planFor(architecture: Architecture): DecodePlan {
  const plan = plans.get(architecture) ?? planOf(architecture);
  plans.set(architecture, plan);
  return plan;
}

function checkPrompt(prompt: readonly number[], architecture: Architecture): void {
  if (prompt.length === 0) {
    throw new ShapeError({ what: "The prompt has no tokens.", fix: "Give at least one token, the model's bos token if nothing else." });
  }
  const unknown = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= architecture.vocabularySize);
  if (unknown !== undefined) {
    throw new ShapeError({
      what: `Token id ${unknown} is outside the vocabulary of ${architecture.vocabularySize}.`,
      fix: "Use the tokenizer that belongs to this model.",
    });
  }
  const limit = architecture.kind === "decoder-only" ? architecture.maxPositions : undefined;
  if (limit !== undefined && prompt.length > limit) {
    throw new ShapeError({
      what: `The prompt has ${prompt.length} tokens; the model knows ${limit} positions.`,
      fix: "Shorten the prompt, or use a model trained on longer texts.",
    });
  }
}
