/** @file A Mixture-of-LoRAs model on disk (routing/moa-file.ts has the format).
 *
 *  When a domain is added, its rows are written before moa.json names it. When it is removed, moa.json is written first. If the process
 *  stops in between, the files are still a valid model. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, PoolError, UserError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { codeOf, writeFileAtomically } from "../checkpoint/atomic.ts";
import { openSafetensors, readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { domainsOfRows, MOA_FILE, type Moa, moaConfig, parsedMoa, parseMoa, ROUTER_FILE, routerTensors } from "../routing/moa-file.ts";

export async function writeMoa(directory: string, moa: Moa): Promise<void> {
  await writeRouters(directory, moa);
  await writeConfig(directory, moa);
}

/** Writes a model with fewer domains than the one on disk. */
export async function writeSmallerMoa(directory: string, moa: Moa): Promise<void> {
  await writeConfig(directory, moa);
  await writeRouters(directory, moa);
}

async function writeRouters(directory: string, moa: Moa): Promise<void> {
  const { tensors, metadata } = routerTensors(moa);
  await writeSafetensors(join(directory, ROUTER_FILE), tensors, { metadata });
}

async function writeConfig(directory: string, moa: Moa): Promise<void> {
  await writeFileAtomically(join(directory, MOA_FILE), moaConfig(moa));
}

/** Reads moa.json and the routers; undefined if the pool has none. */
export async function readMoa(directory: string): Promise<Moa | undefined> {
  const where = join(directory, MOA_FILE);
  const text = await readFile(where, "utf8").catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw new PoolError({
      code: "moa-bad-file",
      what: `moa.json cannot be read: ${messageOf(cause)}.`,
      where,
      fix: "Restore the file.",
      cause,
    });
  });
  if (text === undefined) return undefined;
  const config = parsedMoa(text, where);
  const file = join(directory, ROUTER_FILE);
  return parseMoa({ config, ...(await readRouters(file)), file });
}

/** The routers' tensors, and the domains of their rows if the file records them. */
async function readRouters(
  file: string,
): Promise<{ readonly rows: readonly string[] | undefined; readonly tensors: ReadonlyMap<string, HostTensor> }> {
  try {
    const { metadata } = await openSafetensors(file);
    return { tensors: await readSafetensors(file), rows: domainsOfRows(metadata) };
  } catch (cause) {
    const why = cause instanceof UserError ? cause.what : messageOf(cause);
    throw new PoolError({
      code: "moa-bad-file",
      what: `The routers that moa.json speaks of cannot be read. ${why}`,
      where: file,
      fix: "Restore the file.",
      cause,
    });
  }
}
