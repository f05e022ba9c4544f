/** @file Converts a base model that was saved as a pickle to safetensors:
 *
 *    pytorch_model.bin                 all tensors, or
 *    pytorch_model.bin.index.json      { "weight_map": { tensor: shard } } and the shards beside it
 *
 *  The pickles are interpreted, not run (pickle/). Names and bits do not change, and one tensor is in memory at a time. config.json is
 *  written last, since it marks a complete checkpoint. */

import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { checkFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { copyTokenizer, readJsonObject } from "../checkpoint/checkpoint.ts";
import { inFileOrder, streamSafetensors } from "../checkpoint/safetensors.ts";
import { bytesOf, tensorBytes } from "../pickle/read-tensor.ts";
import { openTorchFile, type TorchFile } from "../pickle/torch-file.ts";
import { exists } from "./files.ts";

const FILE = "pytorch_model.bin";
const INDEX = "pytorch_model.bin.index.json";
const TENSORS = "model.safetensors";

/** Tied tensors share their numbers. If together they are this many times the file's size, it is not a model. */
const MOST_REPEATS = 4;

export interface ConvertedBase {
  readonly directory: string;
  readonly tensors: number;
  readonly bytes: number;
}

/** Writes the base model in the folder `source` to the folder `out` as safetensors, with its configuration and tokenizer.
 *  @throws CheckpointError for a folder without such a model, or with a file that is damaged or holds something other than tensors. */
export async function convertBase(source: string, out: string): Promise<ConvertedBase> {
  const names = await shardsOf(source);
  const config = await readFile(join(source, "config.json")).catch((cause: unknown) => {
    const fix = "Fetch config.json of the same model too.";
    throw new CheckpointError({
      code: "checkpoint-no-config",
      data: { folder: source },
      what: "There is no config.json beside the tensors.",
      where: source,
      fix,
      cause,
    });
  });
  await checkFolder(out);
  if ((await exists(join(out, TENSORS))) || (await exists(join(out, "model.safetensors.index.json")))) {
    throw new CheckpointError({
      code: "output-in-the-way",
      what: "There are safetensors in this folder already.",
      where: out,
      fix: "Choose another folder.",
    });
  }
  const shards: TorchFile[] = [];
  try {
    for (const name of names) shards.push(openTorchFile(join(source, name)));
    const tensors = shards.flatMap((torch) => tensorsIn(torch));
    const twice = tensors.find(({ name }, i) => tensors.findIndex((other) => other.name === name) !== i);
    if (twice) throw odd(`Tensor ${twice.name} is in two of the files.`, source);
    tensors.sort(inFileOrder);
    const bytes = async (_: string, index: number) => {
      const { torch, name } = tensors[index]!;
      return tensorBytes(torch, name, torch.tensors.get(name)!);
    };
    await streamSafetensors(join(out, TENSORS), tensors, bytes);
    await copyTokenizer(source, out);
    const generation = join(source, "generation_config.json");
    if (source !== out && (await exists(generation)))
      await writeFileAtomically(join(out, "generation_config.json"), await readFile(generation));
    if (source !== out) await writeFileAtomically(join(out, "config.json"), config);
    return { directory: out, tensors: tensors.length, bytes: tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0) };
  } finally {
    for (const torch of shards) torch[Symbol.dispose]();
  }
}

async function shardsOf(source: string): Promise<string[]> {
  const files = new Set(await readdir(source).catch(() => []));
  if (files.has(FILE)) return [FILE];
  if (!files.has(INDEX)) {
    throw new CheckpointError({
      code: "checkpoint-no-tensors",
      what: `Neither ${FILE} nor ${INDEX} is in this folder.`,
      where: source,
      fix: "Give the folder of a base model that was saved as a pickle.",
    });
  }
  const where = join(source, INDEX);
  const index = z.object({ weight_map: z.record(z.string(), z.string()) }).safeParse(await readJsonObject(where));
  if (!index.success) throw odd(`The index is malformed: ${z.prettifyError(index.error)}.`, where);
  const shards = [...new Set(Object.values(index.data.weight_map))];
  const outside = shards.find((shard) => shard !== basename(shard) || shard === ".." || shard.includes("\\"));
  if (outside !== undefined) throw odd(`The index names ${JSON.stringify(outside)}, which is no file in this folder.`, where);
  return shards;
}

function tensorsIn(torch: TorchFile) {
  const [other] = torch.others;
  if (other) throw odd(`"${other[0]}" is ${other[1]}, and no tensor.`, torch.name);
  const tensors = [...torch.tensors].map(([name, view]) => ({ ...view, name, torch }));
  const bytes = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  if (bytes > MOST_REPEATS * torch.bytes)
    throw odd(`The tensors take ${bytes} bytes and share ${torch.bytes}: they repeat the same numbers.`, torch.name);
  return tensors;
}

function odd(what: string, where: string): CheckpointError {
  return new CheckpointError({ code: "checkpoint-damaged", what, where, fix: "Fetch or export the model again." });
}
