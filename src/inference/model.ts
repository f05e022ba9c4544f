/** @file A model: a base, what computes it, and what is woven in. A plain value; any number of them share one base and runner. */

import type { Base } from "./base.ts";
import type { Runner } from "./runner.ts";
import type { Woven } from "./woven.ts";

/** A base, what computes it, and what is woven in. `loadModel` gives one; functions that compute take one. */
export interface Model {
  readonly base: Base;
  readonly runner: Runner;
  readonly woven: Woven;
}

/** The same base and runner under `woven`. */
export function withWoven({ base, runner }: Model, woven: Woven): Model {
  return { base, runner, woven };
}
