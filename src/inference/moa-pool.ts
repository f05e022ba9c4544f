/** @file A Mixture-of-LoRAs model in its pool's folder: written, opened, changed. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { writeModelCard } from "../adapters/card.ts";
import type { Expert } from "../adapters/expert.ts";
import { fileHash } from "../adapters/files.ts";
import { saveAdapter } from "../adapters/peft-save.ts";
import { addExpert, createPool, listPool, POOL_FILE, removeExpert } from "../adapters/pool.ts";
import { PoolError } from "../base/errors.ts";
import { fingerprint } from "../checkpoint/fingerprint.ts";
import { MOA_FILE, type Moa, ROUTER_FILE, readMoa, withoutDomain, writeMoa } from "../routing/moa-files.ts";
import type { Model } from "./model.ts";

/** Writes a new pool with the domains' LoRAs as its experts. `base`: the base model's name, as the pool shall record it. */
export async function createMoaPool(
  directory: string,
  model: Model,
  base: string,
  moa: Moa,
  adapters: readonly LoraAdapter[],
): Promise<void> {
  await createPool(directory, { name: base, fingerprint: await fingerprint(model.checkpoint) });
  for (const [i, adapter] of adapters.entries()) await addLora(directory, model, base, moa.domains[i]!, adapter);
  await writeMoa(directory, moa);
}

/** Adds one domain's LoRA and writes the routers that know it. */
export async function addToMoaPool(directory: string, model: Model, moa: Moa, name: string, adapter: LoraAdapter): Promise<void> {
  const { base } = await listPool(directory);
  await addLora(directory, model, base.name, name, adapter);
  await writeMoa(directory, moa);
}

/** Takes a domain's rows out of the routers, then its LoRA out of the pool. */
export async function removeFromMoaPool(directory: string, name: string): Promise<void> {
  const moa = await readMoa(directory);
  if (!moa) throw noRouters(directory);
  await writeMoa(directory, withoutDomain(moa, name));
  await removeExpert(directory, name);
}

async function addLora(directory: string, model: Model, base: string, name: string, adapter: LoraAdapter): Promise<void> {
  const folder = join(directory, "experts", name);
  await rm(folder, { recursive: true, force: true }); // left by a run that was stopped: pool.json does not list it
  await saveAdapter(folder, adapter, {
    baseName: base,
    taskType: model.architecture.kind === "encoder-decoder" ? "SEQ_2_SEQ_LM" : "CAUSAL_LM",
  });
  await writeModelCard(folder, { name, base });
  await addExpert(directory, folder, { name, reference: true });
}

export interface MoaPool {
  readonly moa: Moa;
  /** The domains' experts, in the routers' order. */
  readonly experts: readonly Expert[];
  /** Experts of the pool that are no domain's. */
  readonly others: readonly string[];
}

/** The MoA model in a pool's folder, whose experts these are; undefined where the pool has no routers. */
export async function readMoaPool(directory: string, pool: readonly Expert[]): Promise<MoaPool | undefined> {
  const moa = await readMoa(directory);
  if (!moa) return undefined;
  const experts = moa.domains.map((domain) => {
    const expert = pool.find(({ name }) => name === domain);
    if (expert) return expert;
    throw new PoolError({
      what: `The routers know a domain "${domain}", but the pool has no expert of that name.`,
      where: directory,
      fix: "Restore the expert; to take a domain out, use skein moa remove-domain.",
    });
  });
  return { moa, experts, others: pool.map(({ name }) => name).filter((name) => !moa.domains.includes(name)) };
}

/** The same, for those who cannot go on without. */
export async function needMoaPool(directory: string, pool: readonly Expert[]): Promise<MoaPool> {
  const found = await readMoaPool(directory, pool);
  if (found) return found;
  throw noRouters(directory);
}

function noRouters(where: string): PoolError {
  return new PoolError({ what: `The pool has no routers: ${MOA_FILE} is missing.`, where, fix: "Make one with: skein moa train." });
}

/** A hash of all that a pool's MoA model computes by. */
export async function moaPoolHash(directory: string): Promise<string> {
  const hashes = await Promise.all([POOL_FILE, MOA_FILE, ROUTER_FILE].map((name) => fileHash(join(directory, name))));
  return hashes.join();
}
