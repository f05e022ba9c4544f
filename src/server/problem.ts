/** @file A request that is not answered, in the form of OpenAI's errors: as plain data that can cross a thread, and as an Error. */

import * as errors from "../base/errors.ts";
import { messageOf, type Problem, UserError } from "../base/errors.ts";

export type ProblemStatus = 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 415 | 429 | 500 | 501 | 503 | 504;

export interface ProblemData {
  readonly status: ProblemStatus;
  readonly message: string;
  /** The request's field. */
  readonly param?: string | undefined;
  readonly code?: string | undefined;
  /** Seconds after which it may go better. */
  readonly retryAfter?: number | undefined;
}

export class RequestProblem extends Error {
  readonly data: ProblemData;
  constructor(data: ProblemData, cause?: unknown) {
    super(data.message, { cause });
    this.name = "RequestProblem";
    this.data = data;
  }
}

/** A field of the request that cannot be as it is. */
export function badField(param: string, message: string, code = "invalid_value"): RequestProblem {
  return new RequestProblem({ status: 400, message, param, code });
}

export function unknownModel(model: string, known: readonly string[]): RequestProblem {
  const some = known.length > 12 ? [...known.slice(0, 12), "..."] : known;
  return new RequestProblem({
    status: 404,
    message: `The model "${model}" does not exist. There are: ${some.join(", ")}.`,
    param: "model",
    code: "model_not_found",
  });
}

export function noPool(): RequestProblem {
  return new RequestProblem({ status: 404, message: "This server has no pool.", code: "no_pool" });
}

/** The request was cancelled by whoever made it. */
export class Cancelled extends Error {
  constructor() {
    super("The request was cancelled.");
    this.name = "Cancelled";
  }
}

const STATUS = { input: 400, missing: 404, conflict: 409, unsupported: 400, stopped: 503, resource: 503 } as const;

/** Option names of the library as requests spell them. */
const FIELDS: Readonly<Record<string, string>> = {
  router: "routing.method",
  topK: "routing.topK",
  rows: "routing.experts",
  maxNewTokens: "max_tokens",
  logitBias: "logit_bias",
  stopIds: "stop_token_ids",
};

/** What to answer for anything thrown. A bug's own words stay in the log. */
export function problemOf(error: unknown): ProblemData {
  if (error instanceof RequestProblem) return error.data;
  if (error instanceof UserError) {
    const { code, what, kind, data } = error;
    const option = data.option ?? data.options?.[0];
    const param = option === undefined ? undefined : (FIELDS[option] ?? option);
    const isLong = code === "shape-too-long";
    return { status: STATUS[kind], message: what, param, code: isLong ? "context_length_exceeded" : code?.replaceAll("-", "_") };
  }
  return { status: 500, message: "The server failed to answer this request; its log says why.", code: "internal_error" };
}

/** Whether an error is ours to mend, and belongs into the log. */
export function isBug(error: unknown): boolean {
  return !(error instanceof RequestProblem || error instanceof UserError || error instanceof Cancelled);
}

/** The text of an error with its stack, for a log. */
export function detailsOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
}

const CLASSES: Readonly<Record<string, new (problem: never) => UserError>> = {
  AdapterError: errors.AdapterError,
  CheckpointError: errors.CheckpointError,
  DataError: errors.DataError,
  EngineError: errors.EngineError,
  OptionError: errors.OptionError,
  PoolError: errors.PoolError,
  ShapeError: errors.ShapeError,
};

/** An error's class, and what it says: another process can throw it again. */
export type Thrown = Partial<Pick<Problem, "code" | "where" | "data">> & Pick<Problem, "what" | "fix"> & { readonly name: string };

export function thrownData(error: unknown): Thrown {
  if (!(error instanceof UserError)) return { name: "Error", what: detailsOf(error), fix: "" };
  const { name, code, what, where, fix, data } = error;
  return { name, code, what, where, fix, data };
}

/** The error that `thrownData` was made of. */
export function thrownError({ name, ...problem }: Thrown): Error {
  const Class = CLASSES[name];
  return Class ? new Class(problem as never) : new Error(problem.what);
}
