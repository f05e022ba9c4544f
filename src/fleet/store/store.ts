/** @file Where the machines of a farm keep what they share: results, training states and the inputs of jobs. A store is a shared folder
 *  or a prefix in a bucket of S3. A name appears with its whole content or not at all.
 *
 *      blobs/<sha256>                files by their content
 *      done/<key>.json               a job's result, and the tree of its files
 *      state/<key>.json              how far a job is; its files are state/<key>/<sha256>
 *      store.json                    the store's own name: machines may reach one store by different addresses
 *
 *  No lock is taken here: a name's content follows from the name, or the last writer wins. */

import { randomUUID } from "node:crypto";

export interface Store {
  /** The address as messages show it. */
  readonly place: string;
  /** Undefined where there is nothing of this name. */
  get(name: string): Promise<Uint8Array | undefined>;
  put(name: string, content: Uint8Array): Promise<void>;
  /** Writes the content to a file; false where there is nothing of this name. */
  getFile(name: string, path: string): Promise<boolean>;
  putFile(name: string, path: string): Promise<void>;
  has(name: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  /** The names that begin so. */
  list(prefix: string): Promise<string[]>;
  close(): void;
}

/** The JSON of a name; undefined where there is none. */
export async function getJson<T>(store: Store, name: string): Promise<T | undefined> {
  const bytes = await store.get(name);
  return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as T);
}

export async function putJson(store: Store, name: string, value: unknown): Promise<void> {
  await store.put(name, new TextEncoder().encode(`${JSON.stringify(value)}\n`));
}

/** The store's own name, which it gets when it is first asked for. */
export async function storeName(store: Store): Promise<string> {
  const known = await getJson<{ name: string }>(store, "store.json");
  if (known) return known.name;
  await putJson(store, "store.json", { name: randomUUID() });
  return (await getJson<{ name: string }>(store, "store.json"))?.name ?? ""; // of two that ask at once, both get the last
}
