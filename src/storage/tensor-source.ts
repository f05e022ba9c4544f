/** @file How the tensor files of an expert are opened: read into memory as a whole, or left on disk (expert-files.ts). */

import type { ReadTensor } from "../adapters/tensor-file.ts";
import { readTensor, readWhole, type SafetensorsFile } from "../checkpoint/safetensors.ts";

/** A tensor file and how its tensors are read. */
export interface OpenedTensors extends SafetensorsFile {
  readonly read: ReadTensor;
}
export type OpenTensors = (path: string) => Promise<OpenedTensors>;

/** Reads the whole file into memory at once. */
export const intoMemory: OpenTensors = async (path) => {
  const { read, ...file } = await readWhole(path);
  return { ...file, read: async (info) => (info.file === file.path ? read(info) : readTensor(info)) };
};
