/** @file A model: a base, its runner, and the woven-in adapter or pool. It is a plain value; any number of models share one base and runner. */

import type { Base } from "./base.ts";
import type { Runner } from "./runner.ts";
import type { Woven } from "./woven.ts";

/** A base, its runner, and the woven-in adapter or pool. `loadModel` returns one; functions that compute take one. */
export interface Model {
  readonly base: Base;
  readonly runner: Runner;
  readonly woven: Woven;
}

/** The same base and runner with `woven`. */
export function withWoven({ base, runner }: Model, woven: Woven): Model {
  return { base, runner, woven };
}
