/** @file The files of a Mixture-of-LoRAs model: a pool whose experts are the domains' LoRAs, with their routers beside pool.json.
 *
 *      moa.json              { version, domains, layers, pooling, states, lambda?, ... }     domains are names of the pool's experts
 *      routers.safetensors   <layer>.router.weight  float32 [domains, hidden]
 *                            <layer>.router.bias    float32 [domains]
 *                            metadata               domains: the names of the rows, as a JSON array
 *
 *  Two files cannot be replaced at once. The routers may therefore have more domains than moa.json; moa.json is authoritative. */

import * as z from "zod";
import { PoolError } from "../base/errors.ts";
import { fileIn } from "../base/paths.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { type MoaRouter, type MoaRouters, type Pooling, routerNames } from "./moa.ts";

export const MOA_FILE = "moa.json";
export const ROUTER_FILE = "routers.safetensors";
const VERSION = 1;

/** The states that routers read: the base model's, or those changed by the domains' LoRAs. */
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

/** The routers of a set of domains, and the states that they read. */
export interface Moa {
  /** Names of experts, in the order of the routers' rows. */
  readonly domains: readonly string[];
  readonly routers: MoaRouters;
  readonly pooling: Pooling;
  readonly states: RouterStates;
  /** How they were trained: steps, lambda, seed, ...; `added` has the same for domains that were added later. */
  readonly training: Readonly<Record<string, unknown>>;
}

/** The text of moa.json. */
export function moaConfig({ domains, routers, pooling, states, training }: Moa): string {
  const config = { version: VERSION, domains, layers: [...routers.keys()], pooling, states, training };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** The contents of routers.safetensors. */
export function routerTensors({ domains, routers }: Moa): {
  tensors: ReadonlyMap<string, HostTensor>;
  metadata: Readonly<Record<string, string>>;
} {
  const tensors = new Map<string, HostTensor>();
  for (const [layer, { weight, bias }] of routers) {
    const names = routerNames(layer);
    tensors.set(names.weight, weight).set(names.bias, bias);
  }
  return { tensors, metadata: { format: "pt", domains: JSON.stringify(domains) } };
}

const namesOfRows = z.array(z.string());

/** The domains of a router file's rows, if its metadata has them. */
export function domainsOfRows({ domains }: Readonly<Record<string, string>>): readonly string[] | undefined {
  return domains === undefined ? undefined : namesOfRows.parse(JSON.parse(domains));
}

export interface MoaContents {
  /** The result of `parsedMoa`. */
  readonly config: MoaConfig;
  /** The tensors of routers.safetensors, and the domains of their rows if the file has them. */
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly rows?: readonly string[] | undefined;
  /** The router file, for messages. */
  readonly file: string;
}

/** The routers of the domains that moa.json names. */
export function parseMoa({ config, tensors, rows = config.domains, file }: MoaContents): Moa {
  const { domains, layers, pooling, states, training } = config;
  const all: MoaRouters = new Map(layers.map((layer) => [layer, routerIn(tensors, { layer, numDomains: rows.length, file })]));
  const keep = domains.map((domain) => rows.indexOf(domain));
  if (keep.includes(-1)) throw apart(`The routers do not know the domain "${domains[keep.indexOf(-1)]}", which moa.json names.`, file);
  const routers = domains.join() === rows.join() ? all : keptRows(all, keep);
  return { domains, routers, pooling, states, training };
}

export type MoaConfig = z.output<typeof schema>;

/** Parses moa.json. */
export function parsedMoa(text: string, where: string): MoaConfig {
  const fix = "Mend moa.json, or train the routers again.";
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new PoolError({ code: "moa-bad-file", what: "moa.json is not JSON.", where, fix, cause });
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw new PoolError({ code: "moa-bad-file", what: z.prettifyError(result.error), where, fix });
}

function routerIn(
  tensors: ReadonlyMap<string, HostTensor>,
  { layer, numDomains, file }: { layer: string; numDomains: number; file: string },
): MoaRouter {
  const names = routerNames(layer);
  const [weight, bias] = [tensors.get(names.weight), tensors.get(names.bias)];
  const whole = weight?.dtype === "float32" && bias?.dtype === "float32" && weight.shape.length === 2 && bias.shape.length === 1;
  if (!whole || weight.shape[0] !== numDomains || bias.shape[0] !== numDomains) {
    throw apart(`The router of ${layer} is missing or not of ${numDomains} domains.`, file);
  }
  return { weight: weight as HostTensor<"float32">, bias: bias as HostTensor<"float32"> };
}

function apart(what: string, where: string): PoolError {
  return new PoolError({ code: "moa-files-disagree", what, where, fix: "moa.json and routers.safetensors belong together: restore both." });
}

/** Refuses routers that do not match these layers, or read states of another width. */
export function checkRouters({ routers }: Moa, layers: readonly string[], hidden: number, directory: string): void {
  const own = [...routers.keys()];
  const fix = "moa.json, routers.safetensors and the base model belong together: restore the files.";
  if (own.join() !== layers.join()) {
    const what = `The routers are of the layers ${own.join(", ")}; the base model's are ${layers.join(", ")}.`;
    throw new PoolError({ code: "moa-files-disagree", what, where: fileIn(directory, MOA_FILE), fix });
  }
  const wrong = own.find((layer) => routers.get(layer)!.weight.shape[1] !== hidden);
  if (wrong === undefined) return;
  const width = routers.get(wrong)!.weight.shape[1];
  const what = `The router of ${wrong} reads states of width ${width}; the base model's have ${hidden}.`;
  throw new PoolError({ code: "moa-files-disagree", what, where: fileIn(directory, ROUTER_FILE), fix });
}

/** The routers without one domain; the other rows stay unchanged. */
export function withoutDomain(moa: Moa, name: string): Moa {
  const index = moa.domains.indexOf(name);
  if (index < 0)
    throw new PoolError({
      code: "moa-domain-unknown",
      data: { domain: name, known: moa.domains },
      what: `There is no domain "${name}".`,
      fix: `Name one of: ${moa.domains.join(", ")}.`,
    });
  if (moa.domains.length === 1)
    throw new PoolError({
      code: "moa-domain-last",
      data: { domain: name },
      what: `"${name}" is the only domain.`,
      fix: "Delete the pool's folder instead.",
    });
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

/** The routers with only the rows of the domains at `keep`, in that order. */
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
