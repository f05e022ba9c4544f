/** @file Log-likelihoods of continuations in token ids, batched.
 *
 *  Requests are sorted by length. Rows with the same context share its computation, so a T5 encoder and a decoder's prefix
 *  run once for all choices. Only the log-probabilities of the labels leave the graph. Batching changes the results at most
 *  by float32 rounding. */

import { chunks } from "../../base/chunks.ts";
import { ShapeError } from "../../base/errors.ts";
import { throwIfStopped } from "../../base/stopped.ts";
import { type HostTensor, int64, padded } from "../../base/tensor.ts";
import type { Model } from "../../inference/model.ts";
import { type Prompts, promptsOf } from "../../inference/prompts.ts";
import { feedsOfRows } from "../../inference/woven.ts";
import type { Architecture } from "../../models/architecture.ts";
import type { Feeds } from "../../runtime/session.ts";
import { longestSequence } from "./length.ts";
import { buildScoring } from "./scoring-graph.ts";

/** How likely a model finds a continuation. */
export interface Likelihood {
  /** Sum of the tokens' log-probabilities (natural logarithm). */
  readonly sum: number;
  readonly tokens: number;
  /** Whether greedy decoding would give exactly these tokens. */
  readonly isGreedy: boolean;
}
/** A context in token ids and its continuations. With an encoder, the context is the encoder's input. */
export interface TokenRequest {
  readonly context: readonly number[];
  readonly continuations: readonly (readonly number[])[];
}
/** How texts are scored. */
export interface ScorerOptions {
  /** Rows per batch. Default 32. */
  readonly batchSize?: number;
  /** Longest sequence; a longer context is cut at its beginning. Default: `longestSequence` of the model. */
  readonly maxLength?: number;
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of requests done. */
  readonly onProgress?: (done: number) => void;
}

/** Log-likelihood of every continuation of every request, in token ids. */
export async function scoreTokens(model: Model, requests: readonly TokenRequest[], options: ScorerOptions = {}): Promise<Likelihood[][]> {
  const { batchSize = 32, maxLength = longestSequence(model), signal, onProgress } = options;
  const { base, woven } = model;
  const { architecture } = base;
  // Rows that choose their own experts, or depend on all of their tokens, share nothing.
  const isAlone = woven.chooseRows !== undefined || woven.readsWholeRows;
  const split = (request: TokenRequest, i: number) => jobsOf(request, i, architecture, { maxLength, most: isAlone ? 1 : batchSize });
  const jobs = requests.flatMap(split);
  jobs.sort((a, b) => sizeOf(b) - sizeOf(a) || widthOf(b) - widthOf(a) || a.request - b.request);
  const results: Likelihood[][] = requests.map(() => []);
  const left = requests.map(() => 0);
  for (const job of jobs) left[job.request]!++;
  let done = 0;
  for (let start = 0; start < jobs.length; ) {
    throwIfStopped(signal, "evaluation");
    let end = start;
    for (let rows = 0; end < jobs.length; end++) {
      rows += jobs[end]!.rows.length;
      if (end > start && (rows > batchSize || (woven.readsWholeRows && !sameShape(jobs[start]!, jobs[end]!)))) break;
    }
    const batch = jobs.slice(start, end);
    const scores = await scoreBatch(model, batch);
    batch.forEach((job, i) => {
      job.rows.forEach(({ continuation }, r) => {
        results[job.request]![continuation] = scores[i]![r]!;
      });
      if (--left[job.request]! === 0) done++;
    });
    start = end;
    onProgress?.(done);
  }
  return results;
}

interface Row {
  readonly ids: readonly number[];
  readonly labels: readonly number[];
  /** Which continuation of the request this is. */
  readonly continuation: number;
}
/** A context and rows that continue it. */
interface Job {
  readonly request: number;
  readonly context: readonly number[];
  readonly rows: readonly Row[];
}

const widthOf = ({ rows }: Job) => Math.max(...rows.map(({ ids }) => ids.length));
const sizeOf = (job: Job) => job.context.length + widthOf(job);
const sameShape = (a: Job, b: Job) => a.context.length === b.context.length && widthOf(a) === widthOf(b);

/** Cuts a request to the model's length and splits it into batches of rows. */
function jobsOf(
  { context, continuations }: TokenRequest,
  request: number,
  architecture: Architecture,
  { most, maxLength }: { readonly most: number; readonly maxLength: number | undefined },
): Job[] {
  for (const labels of continuations) if (labels.length === 0) throw emptyContinuation();
  if (architecture.kind === "encoder-decoder") {
    const rows = continuations.map((labels, continuation) => ({
      ids: [architecture.decoderStartId, ...labels.slice(0, -1)],
      labels,
      continuation,
    }));
    return chunks(rows, most).map((part) => ({ request, context: lastOf(context, maxLength), rows: part }));
  }
  const byCut = new Map<number, Row[]>();
  continuations.forEach((labels, continuation) => {
    const whole = [...context, ...labels];
    if (context.length === 0) throw emptyContext();
    const cut = maxLength === undefined ? 0 : Math.max(0, whole.length - maxLength - 1);
    // Continuations of different lengths cut the context at different places, and then share nothing.
    byCut.set(cut, [...(byCut.get(cut) ?? []), { ids: whole.slice(cut, -1), labels, continuation }]);
  });
  return [...byCut].flatMap(([cut, rows]) => {
    const shared = rows.length > 1 && most > 1 ? context.slice(cut, -1) : [];
    const own = rows.map((row) => ({ ...row, ids: row.ids.slice(shared.length), labels: row.labels.slice(-row.ids.length) }));
    return chunks(own, most).map((part) => ({ request, context: shared, rows: part }));
  });
}

/** The last `length` ids; all of them without a limit. */
export const lastOf = (ids: readonly number[], length: number | undefined) => (length === undefined ? ids : ids.slice(-length));

async function scoreBatch(model: Model, jobs: readonly Job[]): Promise<Likelihood[][]> {
  const { base, runner, woven } = model;
  const { architecture } = base;
  const shared = architecture.kind === "encoder-decoder" || jobs.some(({ context }) => context.length > 0);
  const perRow = woven.chooseRows !== undefined;
  const rowFeeds = feedsOfRows(woven, (await woven.chooseRows?.(startsOf(jobs, architecture))) ?? {});
  const fetches = await runner.session(
    { graph: "score", shared, perRow },
    woven,
    (graph, parts) => buildScoring(graph, architecture, parts(), { shared, perRow }),
    (session) => runner.run(session, woven, { ...rowFeeds, ...batchFeeds(jobs, architecture, shared) }),
  );
  const [values, best] = [fetches.loglikelihoods, fetches.best] as [HostTensor<"float32">, HostTensor<"int64">];
  const width = values.shape[1]!;
  let row = 0;
  return jobs.map(({ rows }) =>
    rows.map(({ labels }) => {
      const start = row++ * width;
      return {
        sum: labels.reduce((sum, _, t) => sum + values.data[start + t]!, 0),
        tokens: labels.length,
        isGreedy: labels.every((label, t) => best.data[start + t] === BigInt(label)),
      };
    }),
  );
}

/** The prompt of each row, for methods that choose by it: an encoder's input, or the tokens before the labels. */
function startsOf(jobs: readonly Job[], { kind }: Architecture): Prompts {
  const starts = jobs.flatMap(({ context, rows }) =>
    rows.map(({ ids, labels }) => (kind === "encoder-decoder" ? context : [...context, ...ids.slice(0, ids.length - labels.length + 1)])),
  );
  return promptsOf(starts);
}

function batchFeeds(jobs: readonly Job[], architecture: Architecture, shared: boolean): Feeds {
  const rows = jobs.flatMap((job, context) => job.rows.map((row) => ({ ...row, context, before: job.context.length })));
  const ids = padded(rows.map((row) => row.ids));
  const labels = padded(rows.map((row) => row.labels));
  const [sequence, targets] = [ids.ids.shape[1]!, labels.ids.shape[1]!];
  const places = int64([rows.length, targets]);
  const positions = int64(ids.ids.shape);
  rows.forEach((row, i) => {
    const first = row.ids.length - row.labels.length;
    row.labels.forEach((_, t) => {
      places.data[i * targets + t] = BigInt(i * sequence + first + t);
    });
    const before = architecture.kind === "decoder-only" ? row.before : 0;
    row.ids.forEach((_, t) => {
      positions.data[i * sequence + t] = BigInt(before + t);
    });
  });
  const own = { row_ids: ids.ids, row_mask: ids.mask, row_positions: positions, labels: labels.ids, places };
  if (!shared) return own;
  const context = padded(jobs.map((job) => job.context));
  return {
    ...own,
    context_ids: context.ids,
    context_mask: context.mask,
    rows: int64(
      [rows.length],
      rows.map((row) => row.context),
    ),
  };
}

function emptyContinuation(): ShapeError {
  return new ShapeError({
    code: "shape-empty",
    what: "A continuation has no tokens: there is nothing to score.",
    fix: "Leave out empty choices and targets.",
  });
}
export function emptyContext(): ShapeError {
  return new ShapeError({
    code: "shape-empty",
    what: "The context has no tokens, and a decoder-only model predicts nothing before the first.",
    fix: "Give a context, or a tokenizer with a bos or eos token to start from.",
  });
}
