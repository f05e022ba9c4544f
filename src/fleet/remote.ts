/** @file The queue and the store of a farm on several machines, opened together. */

import { type FarmQueue, openQueue, type QueueOptions } from "./queue/farm-queue.ts";
import { openStore } from "./store/open-store.ts";
import type { Store } from "./store/store.ts";

/** Opens the queue and the store of a farm on several machines. Close both after use. `creates`: a folder that is not there is made.
 *  @throws TrainingError when one of them does not answer, or refuses the user. */
export async function openRemote(
  addresses: { readonly queue: string; readonly store: string },
  { creates = false, ...options }: QueueOptions & { readonly creates?: boolean } = {},
): Promise<{ queue: FarmQueue; store: Store }> {
  const store = await openStore(addresses.store, { creates });
  try {
    return { store, queue: await openQueue(addresses.queue, options) };
  } catch (error) {
    store.close();
    throw error;
  }
}
