/** @file The experts of a pool's folder, for a base model. */

import { join } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import { cardData } from "../storage/card.ts";
import { listPool, openPool } from "../storage/pool.ts";
import type { Model } from "./model.ts";

/** All experts of the pool in `directory`, checked against the model. */
export async function openExperts({ base }: Pick<Model, "base">, directory: string): Promise<Expert[]> {
  const resolveHub = (id: string, revision: string) => resolveModel(`${id}@${revision}`);
  const pool = await openPool(directory, base.modules, { fingerprint: await base.fingerprint(), resolveHub, verify: "when read" });
  return pool.loadAll();
}

/** All experts of the pool in `directory`, and the data that their cards name. */
export async function openPoolWithCards(
  model: Pick<Model, "base">,
  directory: string,
): Promise<{ readonly experts: Expert[]; readonly descriptions: ReadonlyMap<string, string> }> {
  const experts = await openExperts(model, directory);
  const { experts: entries } = await listPool(directory);
  const descriptions = new Map<string, string>();
  for (const { name, path } of entries) if (path !== undefined) descriptions.set(name, await cardData(join(directory, path)));
  return { experts, descriptions };
}
