/** @file A list of published adapters that belong into one pool, as YAML:
 *
 *      name: lorahub
 *      base: google/flan-t5-large
 *      prefix: lorahub/flan_t5_large-     # optional: stands before every adapter, and not in the expert's name
 *      adapters: [coqa, drop, ...]        # ids on the hub, or folders */

import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import * as z from "zod";
import { checkExpertName } from "../adapters/pool-file.ts";
import { DataError, messageOf } from "../base/errors.ts";

const schema = z.strictObject({
  name: z.string(),
  description: z.string().optional(),
  base: z.string(),
  prefix: z.string().default(""),
  adapters: z.array(z.string().min(1)).min(1),
});

/** The adapters of a list. */
export interface PoolList {
  readonly name: string;
  readonly base: string;
  readonly adapters: readonly { readonly name: string; readonly source: string }[];
}

/** Reads a list of adapters.
 *  @throws DataError for a file that is no such list, PoolError for a name that no expert can have. */
export async function readPoolList(path: string): Promise<PoolList> {
  let list: z.output<typeof schema>;
  try {
    list = schema.parse(parse(await readFile(path, "utf8")));
  } catch (cause) {
    const what = `This is not a list of adapters. ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`;
    throw new DataError({ code: "data-bad-row", what, where: path, fix: "Write name, base and adapters: [org/name, ...].", cause });
  }
  const { prefix } = list;
  const adapters = list.adapters.map((adapter) => ({ name: adapter.split("/").at(-1)!, source: `${prefix}${adapter}` }));
  for (const { name } of adapters) checkExpertName(name, path);
  const twice = adapters.find(({ name }, i) => adapters.findIndex((other) => other.name === name) !== i);
  if (twice === undefined) return { name: list.name, base: list.base, adapters };
  const what = `Two adapters would be called "${twice.name}".`;
  throw new DataError({ code: "data-bad-row", what, where: path, fix: "Name each adapter once." });
}
