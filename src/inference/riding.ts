/** @file Rows of the base, or of one expert, that may share the runs of a routed pool.
 *
 *      base    every expert is barred: the update is exactly 0
 *      expert  every other one is barred: its weight is the softmax of one score, exactly 1
 *
 *  A run that holds only rows of one kind uses `alone`, which is cheaper. Keys and values are the same either way. */

import type { Expert } from "../adapters/expert.ts";
import type { RoutedPool } from "./routed-pool.ts";
import { baseRows, namedExperts } from "./row-choices.ts";
import { plain, type Woven } from "./woven.ts";

/** Rows of the base in the runs of `pool`. */
export function baseRiding(pool: RoutedPool): Woven {
  return riding(pool.withRows(baseRows), plain);
}

/** Rows of one expert in the runs of `pool`. `alone`: the expert without the pool. Undefined if the pool does not compute exactly this
 *  expert. */
export function expertRiding(pool: RoutedPool, expert: Expert, alone: Woven): Woven | undefined {
  return pool.serves(expert) ? riding(pool.withRows(namedExperts([expert.name])), alone) : undefined;
}

function riding(within: RoutedPool, alone: Woven): Woven {
  const { key, batch, feeds, chooseRows } = within;
  const { id, experts, turnEnds } = alone;
  return { key, batch, feeds, chooseRows, id, experts, turnEnds, alone, weave: (...parts) => within.weave(...parts) };
}
