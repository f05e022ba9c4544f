/** @file A Mixture-of-LoRAs model in its pool's folder: written, opened, changed. */

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

/** Writes a new pool with the domains' LoRAs as its experts; pool.json comes last, so that a broken run leaves no pool.
 *  `base`: the base model's name, as the pool shall record it.
 *  @throws PoolError where there is a pool already. */
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

/** Adds one domain's LoRA and writes the routers that know it.
 *  @throws PoolError where there is no pool, or one with such a folder already. */
export async function addToMoaPool(directory: string, model: Model, moa: Moa, name: string, adapter: LoraAdapter): Promise<void> {
  const { base, experts } = await listPool(directory);
  const folder = await saveLora(directory, model, base.name, name, adapter);
  if (!experts.some((expert) => expert.name === name)) await addExpert(directory, folder, { name, reference: true });
  await writeMoa(directory, moa);
}

/** Takes a domain's rows out of the routers, then its LoRA out of the pool.
 *  @throws PoolError where there are no routers or no such domain. */
export async function removeFromMoaPool(directory: string, name: string): Promise<void> {
  const moa = await readMoa(directory);
  if (!moa) throw noRouters(directory);
  const { experts } = await listPool(directory);
  const listed = experts.some((expert) => expert.name === name);
  if (listed && !moa.domains.includes(name)) {
    const fix = "Take the expert out with removeExpert, or name a domain.";
    throw new PoolError({
      code: "moa-not-a-domain",
      data: { pool: directory, expert: name },
      what: `"${name}" is an expert of the pool, but no domain.`,
      where: directory,
      fix,
    });
  }
  await writeSmallerMoa(directory, withoutDomain(moa, name));
  if (listed) await removeExpert(directory, name);
}

/** Refuses names of domains, whose routers would be left without their LoRAs. */
export async function refuseDomains(directory: string, names: readonly string[]): Promise<void> {
  const domains = (await readMoa(directory))?.domains ?? [];
  const name = names.find((name) => domains.includes(name));
  if (name === undefined) return;
  const fix = "Take it out of pool and routers with removeFromMoaPool.";
  throw new PoolError({
    code: "moa-expert-is-domain",
    data: { pool: directory, domain: name },
    what: `"${name}" is a domain that this pool's routers know.`,
    where: directory,
    fix,
  });
}

/** Refuses a name that an expert of the pool has already: before long work whose result would go there. */
export async function refuseExpert(directory: string, name: string): Promise<void> {
  const { experts } = await listPool(directory);
  if (experts.some((expert) => expert.name === name)) throw taken(directory, name);
}

function taken(directory: string, name: string): PoolError {
  return new PoolError({
    code: "pool-expert-exists",
    data: { expert: name, domain: name },
    what: `The pool has an expert "${name}" already.`,
    where: join(directory, "experts", name),
    fix: "Give the domain another name, or take the old one out first.",
  });
}

function leftBehind(folder: string): PoolError {
  const what = "There is another adapter here already, which pool.json does not list.";
  return new PoolError({
    code: "pool-leftover",
    data: { folder },
    what,
    where: folder,
    fix: "Move that folder away and repeat the command, which goes on from its run.",
  });
}

/** Saves a domain's LoRA in experts/ -> its folder. The same LoRA may lie there, left by a run that was stopped; another stays as it is. */
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
  /** Experts of the pool that are no domain's. */
  readonly others: readonly string[];
}

/** The MoA model in a pool's folder, whose experts these are. */
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
      what: `The routers know a domain "${domain}", but the pool has no expert of that name.`,
      ...(where !== undefined && { where }),
      fix: "Restore the expert; to take a domain out, take it out of pool and routers together.",
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
