/** @file Opens the store of an address, and checks that it can be used before any work is done. */

import { randomUUID } from "node:crypto";
import { OptionError } from "../../base/errors.ts";
import { maskedAddress } from "../masked.ts";
import { openFolderStore } from "./folder-store.ts";
import { openS3Store } from "./s3-store.ts";
import type { Store } from "./store.ts";

/** Opens s3://bucket/prefix or a folder. `creates`: a folder that is not there yet is made.
 *  @throws TrainingError when it cannot be reached, refuses the credentials, or has no space for a few bytes. */
export async function openStore(address: string, options: { readonly creates?: boolean } = {}): Promise<Store> {
  const store = await opened(address, options);
  const probe = `probe/${randomUUID()}`;
  try {
    await store.put(probe, new TextEncoder().encode("skein\n"));
    await store.get(probe);
    await store.remove(probe);
  } catch (error) {
    store.close();
    throw error;
  }
  return store;
}

async function opened(address: string, options: { readonly creates?: boolean }): Promise<Store> {
  const [, scheme] = /^([a-z][a-z0-9+.-]+):\/\//i.exec(address) ?? [];
  if (scheme === undefined) return openFolderStore(address, options);
  if (scheme.toLowerCase() === "s3" && URL.canParse(address) && new URL(address).hostname !== "") return openS3Store(address);
  throw new OptionError({
    code: "option-invalid",
    data: { option: "store" },
    what: `This is no store: ${maskedAddress(address)}`,
    where: "store",
    fix: "Write s3://bucket/prefix, or a folder that all machines share.",
  });
}
