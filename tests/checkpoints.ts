/** @file Checkpoints for tests: a golden one with other names, in a folder that is deleted after the test. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTensor } from "../src/base/tensor.ts";
import { openCheckpoint, saveCheckpoint } from "../src/checkpoint/checkpoint.ts";
import { readSafetensors } from "../src/checkpoint/safetensors.ts";

type Config = Readonly<Record<string, unknown>>;
interface Respelling {
  readonly config?: (config: Config) => Config;
  readonly tensor?: (name: string) => string;
  /** A replacement for the tensor, by its name in the copy. */
  readonly values?: (name: string, tensor: HostTensor) => HostTensor;
  /** Additional tensors of the copy. */
  readonly add?: (tensors: ReadonlyMap<string, HostTensor>) => Readonly<Record<string, HostTensor>>;
}

/** Calls `use` with a copy of the checkpoint in `folder` whose configuration and tensors are written differently. */
export async function respelled(
  folder: string,
  { config = (c) => c, tensor = (n) => n, values = (_, t) => t, add = () => ({}) }: Respelling,
  use: (copy: string) => Promise<void>,
) {
  const copy = mkdtempSync(join(tmpdir(), "skein-respelled-"));
  try {
    const { config: original } = await openCheckpoint(folder);
    const tensors = new Map<string, HostTensor>();
    for (const [name, original] of await readSafetensors(join(folder, "model.safetensors"))) {
      tensors.set(tensor(name), values(tensor(name), original));
    }
    for (const [name, more] of Object.entries(add(tensors))) tensors.set(name, more);
    await saveCheckpoint(copy, { config: config(original), tensors });
    await use(copy);
  } finally {
    rmSync(copy, { recursive: true });
  }
}
