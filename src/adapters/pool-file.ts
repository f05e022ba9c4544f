/** @file pool.json, the lockfile of a pool: experts over one base model, in order (the order is the expert index).
 *
 *    { version, base: { name, fingerprint? }, experts: [{ name, path | hub + revision, sha256 }] }
 *
 *  Only a pool that was converted without its base model has no fingerprint. It fits any base that has its modules. */

import * as z from "zod";
import { PoolError } from "../base/errors.ts";
import { fileIn } from "../base/paths.ts";
import { closestNames } from "./modules.ts";

export const POOL_FILE = "pool.json";
export const POOL_VERSION = 1;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const entrySchema = z
  .strictObject({
    name: z.string().regex(NAME, "use letters, digits, dots, dashes and underscores"),
    /** Relative to the pool's folder. */
    path: z.string().optional(),
    hub: z.string().optional(),
    revision: z.string().optional(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits"),
  })
  .refine(({ path, hub }) => (path === undefined) !== (hub === undefined), "give either path or hub")
  .refine(({ hub, revision }) => hub === undefined || revision !== undefined, "an expert from the hub needs its revision");
const poolSchema = z.strictObject({
  version: z.literal(POOL_VERSION),
  base: z.strictObject({ name: z.string(), fingerprint: z.string().optional() }),
  experts: z.array(entrySchema),
});

/** One expert as pool.json lists it: its name, where it lies, and the SHA-256 of the files that decide what it computes. */
export type PoolEntry = Readonly<z.output<typeof entrySchema>>;
/** What pool.json holds: its version, the base model, and the experts in order. */
export type PoolFile = Readonly<z.output<typeof poolSchema>>;
/** The base model of a pool: the name that pool.json records, and its fingerprint (64 hexadecimal digits). */
export type PoolBase = PoolFile["base"];

/** The parsed pool.json of the pool in `directory`. */
export function parsePool(text: string, directory: string): PoolFile {
  const where = fileIn(directory, POOL_FILE);
  const bad = (what: string, fix: string, cause?: unknown) =>
    new PoolError({ code: "pool-bad-file", data: { pool: directory }, what, where, fix, cause });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw bad("pool.json is not JSON.", "Restore it from version control, or make the pool again.", cause);
  }
  const result = poolSchema.safeParse(raw);
  if (!result.success) throw bad(z.prettifyError(result.error), "Mend pool.json, or make the pool again.");
  const names = result.data.experts.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw bad(`Two experts are called "${twice}".`, "Rename one of them.");
  return result.data;
}

/** Refuses an invalid name for an expert. */
export function checkExpertName(name: string, where: string): void {
  if (NAME.test(name)) return;
  throw new PoolError({
    code: "pool-bad-name",
    data: { got: name },
    what: `"${name}" cannot name an expert.`,
    where,
    fix: "Use letters, digits, dots, dashes and underscores.",
  });
}

/** The expert of this name. `where` names the pool in messages. */
export function entryOf(experts: readonly PoolEntry[], name: string, where: string): PoolEntry {
  const entry = experts.find((other) => other.name === name);
  if (entry) return entry;
  const close = closestNames(
    name,
    experts.map((other) => other.name),
  );
  throw new PoolError({
    code: "pool-expert-unknown",
    data: { expert: name, known: close },
    what: `The pool has no expert "${name}".`,
    where,
    fix: close.length > 0 ? `Closest: ${close.join(", ")}.` : "It is empty.",
  });
}
