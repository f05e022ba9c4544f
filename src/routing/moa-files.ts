/** @file A Mixture-of-LoRAs model on disk: a pool whose experts are the domains' LoRAs, with their routers beside pool.json.
 *
 *      moa.json              { version, domains, layers, pooling, states, lambda?, ... }     domains are names of the pool's experts
 *      routers.safetensors   <layer>.router.weight  float32 [domains, hidden]
 *                            <layer>.router.bias    float32 [domains]
 *                            metadata               domains: the names of the rows, as a JSON array
 *
 *  Two files cannot be replaced at once. So the routers may know more domains than moa.json does, whose word counts: a domain's
 *  rows are written before moa.json names it, and go after it no longer does. Who is stopped in between has the model from before. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { exists } from "../adapters/files.ts";
import { messageOf, PoolError, UserError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { codeOf, writeFileAtomically } from "../checkpoint/atomic.ts";
import { openSafetensors, readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { type MoaRouter, type MoaRouters, type Pooling, routerNames } from "./moa.ts";

export const MOA_FILE = "moa.json";
export const ROUTER_FILE = "routers.safetensors";
/** The router's name on a command line. */
export const MOA = "moa";
const VERSION = 1;

/** What routers read: the base model's states, or states that the domains' LoRAs have changed. */
export type RouterStates = "base" | "adapted";

const schema = z.looseObject({
  version: z.literal(VERSION),
  domains: z
    .array(z.string())
    .min(1)
    .refine((names) => new Set(names).size === names.length, "a domain is named twice"),
  layers: z.array(z.string()).min(1),
  pooling: z.enum(["mean", "last"]),
  states: z.enum(["base", "adapted"]),
  training: z.record(z.string(), z.unknown()).default({}),
});

/** The routers of a set of domains, and how they read. */
export interface Moa {
  /** Names of experts, in the order of the routers' rows. */
  readonly domains: readonly string[];
  readonly routers: MoaRouters;
  readonly pooling: Pooling;
  readonly states: RouterStates;
  /** How they were trained: steps, lambda, seed...; under `added` the same of domains that came later. */
  readonly training: Readonly<Record<string, unknown>>;
}

export async function writeMoa(directory: string, moa: Moa): Promise<void> {
  await writeRouters(directory, moa);
  await writeConfig(directory, moa);
}

/** Writes a model that knows fewer domains than the one on the disk. */
export async function writeSmallerMoa(directory: string, moa: Moa): Promise<void> {
  await writeConfig(directory, moa);
  await writeRouters(directory, moa);
}

async function writeRouters(directory: string, { domains, routers }: Moa): Promise<void> {
  const tensors = new Map<string, HostTensor>();
  for (const [layer, { weight, bias }] of routers) {
    const names = routerNames(layer);
    tensors.set(names.weight, weight).set(names.bias, bias);
  }
  await writeSafetensors(join(directory, ROUTER_FILE), tensors, { metadata: { format: "pt", domains: JSON.stringify(domains) } });
}

async function writeConfig(directory: string, { domains, routers, pooling, states, training }: Moa): Promise<void> {
  const config = { version: VERSION, domains, layers: [...routers.keys()], pooling, states, training };
  await writeFileAtomically(join(directory, MOA_FILE), `${JSON.stringify(config, null, 2)}\n`);
}

/** Whether a pool has MoA routers. */
export async function hasMoa(directory: string): Promise<boolean> {
  return exists(join(directory, MOA_FILE));
}

/** Reads moa.json and the routers; undefined where the pool has none. */
export async function readMoa(directory: string): Promise<Moa | undefined> {
  const where = join(directory, MOA_FILE);
  const text = await readFile(where, "utf8").catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw new PoolError({ what: `moa.json cannot be read: ${messageOf(cause)}.`, where, fix: "Restore the file.", cause });
  });
  if (text === undefined) return undefined;
  const { domains, layers, pooling, states, training } = parsedMoa(text, where);
  const file = join(directory, ROUTER_FILE);
  const { rows = domains, tensors } = await readRouters(file);
  const all: MoaRouters = new Map(layers.map((layer) => [layer, routerOf(layer, tensors, rows.length, file)]));
  const keep = domains.map((domain) => rows.indexOf(domain));
  if (keep.includes(-1)) throw apart(`The routers do not know the domain "${domains[keep.indexOf(-1)]}", which moa.json names.`, file);
  const routers = domains.join() === rows.join() ? all : keptRows(all, keep);
  return { domains, routers, pooling, states, training };
}

const namesOfRows = z.array(z.string());

/** The routers' tensors, and whose their rows are, where the file says so. */
async function readRouters(
  file: string,
): Promise<{ readonly rows?: readonly string[]; readonly tensors: ReadonlyMap<string, HostTensor> }> {
  try {
    const { domains } = (await openSafetensors(file)).metadata;
    const tensors = await readSafetensors(file);
    return domains === undefined ? { tensors } : { rows: namesOfRows.parse(JSON.parse(domains)), tensors };
  } catch (cause) {
    const why = cause instanceof UserError ? cause.what : messageOf(cause);
    throw new PoolError({
      what: `The routers that moa.json speaks of cannot be read. ${why}`,
      where: file,
      fix: "Restore the file.",
      cause,
    });
  }
}

function parsedMoa(text: string, where: string): z.output<typeof schema> {
  const fix = "Mend moa.json, or train the routers again: skein moa train.";
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new PoolError({ what: "moa.json is not JSON.", where, fix, cause });
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw new PoolError({ what: z.prettifyError(result.error), where, fix });
}

function routerOf(layer: string, tensors: ReadonlyMap<string, HostTensor>, numDomains: number, where: string): MoaRouter {
  const names = routerNames(layer);
  const [weight, bias] = [tensors.get(names.weight), tensors.get(names.bias)];
  const whole = weight?.dtype === "float32" && bias?.dtype === "float32" && weight.shape.length === 2 && bias.shape.length === 1;
  if (!whole || weight.shape[0] !== numDomains || bias.shape[0] !== numDomains) {
    throw apart(`The router of ${layer} is missing or not of ${numDomains} domains.`, where);
  }
  return { weight: weight as HostTensor<"float32">, bias: bias as HostTensor<"float32"> };
}

function apart(what: string, where: string): PoolError {
  return new PoolError({ what, where, fix: "moa.json and routers.safetensors belong together: restore both." });
}

/** Refuses routers that do not stand before each of these layers, or read states of another width. */
export function checkRouters({ routers }: Moa, layers: readonly string[], hidden: number, directory: string): void {
  const own = [...routers.keys()];
  const fix = "moa.json, routers.safetensors and the base model belong together: restore the files.";
  if (own.join() !== layers.join()) {
    const what = `The routers are of the layers ${own.join(", ")}; the base model's are ${layers.join(", ")}.`;
    throw new PoolError({ what, where: join(directory, MOA_FILE), fix });
  }
  const wrong = own.find((layer) => routers.get(layer)!.weight.shape[1] !== hidden);
  if (wrong === undefined) return;
  const width = routers.get(wrong)!.weight.shape[1];
  const what = `The router of ${wrong} reads states of width ${width}; the base model's have ${hidden}.`;
  throw new PoolError({ what, where: join(directory, ROUTER_FILE), fix });
}

/** The model's routers without a domain; the other rows stay bit for bit. */
export function withoutDomain(moa: Moa, name: string): Moa {
  const index = moa.domains.indexOf(name);
  if (index < 0) throw new PoolError({ what: `There is no domain "${name}".`, fix: `Name one of: ${moa.domains.join(", ")}.` });
  if (moa.domains.length === 1) throw new PoolError({ what: `"${name}" is the only domain.`, fix: "Delete the pool's folder instead." });
  const keep = moa.domains.flatMap((_, i) => (i === index ? [] : [i]));
  const { added, ...training } = moa.training;
  const others = Object.entries(added ?? {}).filter(([domain]) => domain !== name);
  return {
    ...moa,
    domains: keep.map((i) => moa.domains[i]!),
    routers: keptRows(moa.routers, keep),
    training: { ...training, ...(others.length > 0 && { added: Object.fromEntries(others) }) },
  };
}

/** The routers with rows for the domains at `keep` alone, in that order. */
function keptRows(routers: MoaRouters, keep: readonly number[]): MoaRouters {
  return new Map(
    [...routers].map(([layer, { weight, bias }]) => {
      const hidden = weight.shape[1]!;
      const rows = float32([keep.length, hidden]);
      keep.forEach((row, i) => {
        rows.data.set(weight.data.subarray(row * hidden, (row + 1) * hidden), i * hidden);
      });
      const biases = float32(
        [keep.length],
        keep.map((row) => bias.data[row]!),
      );
      return [layer, { weight: rows, bias: biases }];
    }),
  );
}
