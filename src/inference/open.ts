/** @file The experts of a pool's folder, for a base model. */

import type { Expert } from "../adapters/expert.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import { openPool } from "../storage/pool.ts";
import type { Model } from "./model.ts";

/** All experts of the pool in `directory`, checked against the model. */
export async function openExperts({ base }: Pick<Model, "base">, directory: string): Promise<Expert[]> {
  const resolveHub = (id: string, revision: string) => resolveModel(`${id}@${revision}`);
  const pool = await openPool(directory, base.modules, { fingerprint: await base.fingerprint(), resolveHub, verify: "when read" });
  return pool.loadAll();
}
