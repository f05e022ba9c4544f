/** @file The errors that a user can cause, and the check for bugs of our own.
 *
 *  A UserError says what happened, where, and how to fix it in terms of functions and their options. The command line
 *  replaces the fix by one in terms of its flags, prints the error without a stack and exits with 1. Programs use its code.
 *  Everything else is our bug: the command line prints the stack and exits with 70. */

import {
  type ADAPTER_CODES,
  type CHECKPOINT_CODES,
  type DATA_CODES,
  type DataOf,
  type ENGINE_CODES,
  ERROR_CODES,
  type ErrorCode,
  type ErrorFields,
  type HUB_CODES,
  type OPTION_CODES,
  type OUTPUT_CODES,
  type POOL_CODES,
  type ProblemKind,
  type SHAPE_CODES,
  type SHARING_CODES,
  type STOPPED_CODES,
  type TRAINING_CODES,
} from "./error-codes.ts";

/** The parts of a `UserError`. */
export interface Problem {
  /** The kind of problem, for programs. docs/errors.md lists all codes. */
  readonly code: ErrorCode;
  /** The problem in one or two sentences: the expected value, then the actual one. */
  readonly what: string;
  /** The file, module, tensor, line or option it concerns. */
  readonly where?: string | undefined;
  /** How to fix it, in terms of functions and their options. */
  readonly fix: string;
  /** Data for programs and for other remedies. */
  readonly data?: Partial<ErrorFields> | undefined;
  readonly cause?: unknown;
}

type Without<T, K extends keyof T> = { readonly [P in keyof T as P extends K ? never : P]: T[P] };
type Coded<C extends ErrorCode> = Without<Problem, "code" | "data"> & {
  readonly code: C;
} & ((typeof ERROR_CODES)[C]["fields"] extends readonly [] ? { readonly data?: DataOf<C> } : { readonly data: DataOf<C> });

/** A problem with one of these codes, and the data that it needs. */
export type ProblemOf<C extends ErrorCode> = { readonly [K in C]: Coded<K> }[C];

/** An error that the user can fix. */
export class UserError extends Error {
  readonly code: ErrorCode;
  readonly what: string;
  readonly where: string | undefined;
  readonly fix: string;
  readonly data: Readonly<Partial<ErrorFields>>;

  constructor({ code, what, where, fix, data = {}, cause }: Problem) {
    super(`${what}${where ? `\n  where: ${where}` : ""}\n  fix:   ${fix}`, { cause });
    this.name = new.target.name;
    this.code = code;
    this.what = what;
    this.where = where;
    this.fix = fix;
    this.data = data;
  }

  /** The general kind of the problem, from which a server derives the status. */
  get kind(): ProblemKind {
    return ERROR_CODES[this.code].kind;
  }
}

/** The constructor of an error class that takes these codes: a ProblemOf<C> is a Problem. */
function taking<C extends ErrorCode>() {
  return UserError as unknown as new (
    problem: ProblemOf<C>,
  ) => UserError;
}

/** Tensors, graphs or feeds whose shapes do not fit together. */
export class ShapeError extends taking<keyof typeof SHAPE_CODES>() {}
/** A checkpoint (config, tensors, tokenizer) that cannot be read or is not supported. */
export class CheckpointError extends taking<
  keyof typeof CHECKPOINT_CODES | keyof typeof HUB_CODES | keyof typeof SHARING_CODES | keyof typeof OUTPUT_CODES
>() {}
/** An adapter, gate or expert folder that cannot be used in its present form. */
export class AdapterError extends taking<keyof typeof ADAPTER_CODES>() {}
/** A pool that is inconsistent, or that does not fit its experts or its base model. */
export class PoolError extends taking<keyof typeof POOL_CODES>() {}
/** A dataset or task file that cannot be read. */
export class DataError extends taking<keyof typeof DATA_CODES | keyof typeof HUB_CODES>() {}
/** A training run that cannot continue. */
export class TrainingError extends taking<keyof typeof TRAINING_CODES>() {}
/** Work that was stopped on request (Ctrl-C) before it was done: generation, training, evaluation, judging. */
export class StoppedError extends taking<keyof typeof STOPPED_CODES>() {}
/** An engine or device that is missing or does not work on this machine. */
export class EngineError extends taking<keyof typeof ENGINE_CODES>() {}
/** An option or configuration field with an invalid value. */
export class OptionError extends taking<keyof typeof OPTION_CODES>() {}

/** The same problem with another `where`. */
export function relocated<E extends UserError>(error: E, where: string): E {
  const { code, what, fix, data } = error;
  return new (error.constructor as new (problem: Problem) => E)({ code, what, where, fix, data, cause: error });
}

/** Checks a condition that holds for every input. A failure is a bug in Skein. */
export function invariant(condition: unknown, why: string): asserts condition {
  if (!condition) throw new Error(`Skein bug: ${why}`);
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
