/** @file The errors a person can cause, and the check for those only we can cause.
 *
 *  A UserError says what happened, where, and what to do about it; the CLI prints it without a stack and exits with 1.
 *  Everything else is our bug: the CLI prints the stack and exits with 70. */

export interface Problem {
  /** What is wrong: expected, then got. One sentence or two. */
  readonly what: string;
  /** The file, module, tensor, line or option it concerns. */
  readonly where?: string;
  /** What to do about it. */
  readonly fix: string;
  readonly cause?: unknown;
}

/** An error that the person at the keyboard can mend. */
export class UserError extends Error {
  readonly what: string;
  readonly where: string | undefined;
  readonly fix: string;

  constructor({ what, where, fix, cause }: Problem) {
    super(`${what}${where ? `\n  where: ${where}` : ""}\n  fix:   ${fix}`, { cause });
    this.name = new.target.name;
    this.what = what;
    this.where = where;
    this.fix = fix;
  }
}

/** Tensors, graphs or feeds whose shapes do not fit together. */
export class ShapeError extends UserError {}
/** A checkpoint (config, tensors, tokenizer) that cannot be read or is not supported. */
export class CheckpointError extends UserError {}
/** An adapter, gate or expert folder that cannot be used as it stands. */
export class AdapterError extends UserError {}
/** A pool that does not agree with itself, its experts or its base model. */
export class PoolError extends UserError {}
/** A dataset or task file that cannot be read. */
export class DataError extends UserError {}
/** A training run that cannot go on. */
export class TrainingError extends UserError {}
/** Work that was asked to stop (Ctrl-C) before it was done. */
export class StoppedError extends UserError {}
/** An engine or device that is missing or does not work on this machine. */
export class EngineError extends UserError {}
/** An option or configuration field with a value that makes no sense. */
export class OptionError extends UserError {}

/** Holds what must be true whatever a user does; a failure is a bug of ours. */
export function invariant(condition: unknown, why: string): asserts condition {
  if (!condition) throw new Error(`Skein bug: ${why}`);
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
