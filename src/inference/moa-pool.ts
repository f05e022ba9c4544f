/** @file Writes, opens and changes a Mixture-of-LoRAs model in its pool's folder. */

import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { POOL_FILE } from "../adapters/pool-file.ts";
import { PoolError } from "../base/errors.ts";
import { writing } from "../checkpoint/atomic.ts";
import { routerLayers } from "../routing/moa.ts";
import { checkRouters, MOA_FILE, type Moa, withoutDomain } from "../routing/moa-file.ts";
import { writeModelCard } from "../storage/card.ts";
import { exists } from "../storage/files.ts";
import { readMoa, writeMoa, writeSmallerMoa } from "../storage/moa.ts";
import { saveAdapter } from "../storage/peft-save.ts";
import { addExpert, createPool, expertHash, listPool, refusePool, removeExpert } from "../storage/pool.ts";
import type { Base } from "./base.ts";
import type { Model } from "./model.ts";

/** Writes a new pool with the domains' LoRAs as its experts. pool.json is written last, so that an interrupted run leaves no pool.
 *  `base`: the base model's name for pool.json.
 *  @throws PoolError if there is already a pool. */
export async function createMoaPool(
  directory: string,
  model: Model,
  base: string,
  moa: Moa,
  adapters: readonly LoraAdapter[],
): Promise<void> {
  await refusePool(directory);
  for (const [i, adapter] of adapters.entries()) await saveLora(directory, model, base, moa.domains[i]!, adapter);
  await writeMoa(directory, moa);
  await createPool(directory, { name: base, fingerprint: await model.base.fingerprint() }, moa.domains);
}

/** Adds the LoRA of one domain and writes the routers that include it.
 *  @throws PoolError if there is no pool, or the pool already has such a folder. */
export async function addToMoaPool(directory: string, model: Model, moa: Moa, name: string, adapter: LoraAdapter): Promise<void> {
  const { base, experts } = await listPool(directory);
  const folder = await saveLora(directory, model, base.name, name, adapter);
  if (!experts.some((expert) => expert.name === name)) await addExpert(directory, folder, { name, reference: true });
  await writeMoa(directory, moa);
}

/** Removes a domain's rows from the routers, then its LoRA from the pool.
 *  @throws PoolError if there are no routers or no such domain. */
export async function removeFromMoaPool(directory: string, name: string): Promise<void> {
  const moa = await readMoa(directory);
  if (!moa) throw noRouters(directory);
  const { experts } = await listPool(directory);
  const listed = experts.some((expert) => expert.name === name);
  if (listed && !moa.domains.includes(name)) {
    const fix = "Remove the expert with removeExpert, or name a domain.";
    throw new PoolError({
      code: "moa-not-a-domain",
      data: { pool: directory, expert: name },
      what: `"${name}" is an expert of the pool, but not a domain.`,
      where: directory,
      fix,
    });
  }
  await writeSmallerMoa(directory, withoutDomain(moa, name));
  if (listed) await removeExpert(directory, name);
}

/** Throws for names of domains, since their routers need their LoRAs. */
export async function refuseDomains(directory: string, names: readonly string[]): Promise<void> {
  const domains = (await readMoa(directory))?.domains ?? [];
  const name = names.find((name) => domains.includes(name));
  if (name === undefined) return;
  const fix = "Remove it from pool and routers with removeFromMoaPool.";
  throw new PoolError({
    code: "moa-expert-is-domain",
    data: { pool: directory, domain: name },
    what: `"${name}" is a domain of this pool's routers.`,
    where: directory,
    fix,
  });
}

/** Throws for a name that an expert of the pool already has. Call it before long work that writes an expert with this name. */
export async function refuseExpert(directory: string, name: string): Promise<void> {
  const { experts } = await listPool(directory);
  if (experts.some((expert) => expert.name === name)) throw taken(directory, name);
}

function taken(directory: string, name: string): PoolError {
  return new PoolError({
    code: "pool-expert-exists",
    data: { expert: name, domain: name },
    what: `The pool already has an expert "${name}".`,
    where: join(directory, "experts", name),
    fix: "Give the domain another name, or remove the old one first.",
  });
}

function leftBehind(folder: string): PoolError {
  const what = "Another adapter is already here, and pool.json does not list it.";
  return new PoolError({
    code: "pool-leftover",
    data: { folder },
    what,
    where: folder,
    fix: "Move that folder away and repeat the call. It continues its run.",
  });
}

/** Saves a domain's LoRA in experts/ -> its folder. A stopped run may have left the same LoRA there. Another adapter there is not overwritten. */
async function saveLora(directory: string, model: Model, base: string, name: string, adapter: LoraAdapter): Promise<string> {
  const [folder, partial] = [join(directory, "experts", name), join(directory, "experts", `.${name}.partial`)];
  await rm(partial, { recursive: true, force: true });
  await saveAdapter(partial, adapter, {
    baseName: base,
    taskType: model.base.architecture.kind === "encoder-decoder" ? "SEQ_2_SEQ_LM" : "CAUSAL_LM",
  });
  await writeModelCard(partial, { name, base });
  if (!(await exists(folder))) {
    await writing(folder, () => rename(partial, folder));
    return folder;
  }
  const same = (await expertHash(folder)) === (await expertHash(partial));
  await rm(partial, { recursive: true, force: true });
  if (same) return folder;
  const { experts = [] } = (await exists(join(directory, POOL_FILE))) ? await listPool(directory) : {};
  throw experts.some((expert) => expert.name === name) ? taken(directory, name) : leftBehind(folder);
}

export interface MoaPool {
  readonly moa: Moa;
  /** The domains' experts, in the routers' order. */
  readonly experts: readonly Expert[];
  /** Experts of the pool that do not belong to a domain. */
  readonly others: readonly string[];
}

/** The MoA model in a pool's folder, with these experts of the pool. */
export async function needMoaPool({ base }: Pick<Model, "base">, directory: string, pool: readonly Expert[]): Promise<MoaPool> {
  const moa = await readMoa(directory);
  if (!moa) throw noRouters(directory);
  return moaPoolOf(base, moa, pool, directory);
}

/** A MoA model with its experts among those of a pool. `where`: the pool's folder, for messages. */
export function moaPoolOf({ architecture }: Base, moa: Moa, pool: readonly Expert[], where?: string): MoaPool {
  checkRouters(moa, routerLayers(architecture), architecture.hiddenSize, where ?? "moa");
  const experts = moa.domains.map((domain) => {
    const expert = pool.find(({ name }) => name === domain);
    if (expert) return expert;
    throw new PoolError({
      code: "moa-expert-missing",
      data: { domain },
      what: `The routers have a domain "${domain}", but the pool has no expert of that name.`,
      ...(where !== undefined && { where }),
      fix: "Restore the expert. To remove a domain, remove it from pool and routers together.",
    });
  });
  return { moa, experts, others: pool.map(({ name }) => name).filter((name) => !moa.domains.includes(name)) };
}

function noRouters(where: string): PoolError {
  return new PoolError({
    code: "moa-no-routers",
    data: { pool: where },
    what: `The pool has no routers: ${MOA_FILE} is missing.`,
    where,
    fix: "Make one with trainMoa.",
  });
}
