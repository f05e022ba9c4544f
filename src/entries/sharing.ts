/** @file `skein/sharing`: experts and pools on the Hugging Face Hub: pushed, pulled, and adapters of others found. */

export type { Environment } from "../hub/cache.ts";
export type { DownloadProgress } from "../hub/files.ts";
export type { ResolveOptions } from "../hub/resolve-model.ts";
export type { Uploaded } from "../hub/upload.ts";
export { type Pulled, type Pushed, type PushOptions, pull, push } from "../sharing/push.ts";
export { type AdapterSearch, type FoundAdapter, searchAdapters } from "../sharing/search.ts";
export type { ShareOptions } from "../sharing/share-files.ts";
