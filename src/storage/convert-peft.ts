/** @file Converts PEFT adapters that were saved as a pickle (adapter_model.bin, the default until 2023) to safetensors.
 *
 *  The pickle is interpreted, not run (pickle/). The tensors are copied one at a time with their names and exact bits, and
 *  adapter_config.json is copied unchanged. An adapter that could not be opened afterwards is refused before anything is written. */

import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CONFIG_FILE, GATE_CONFIG_FILE, GATE_FILE, PICKLE_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { parsePeftConfig } from "../adapters/peft-config.ts";
import { sortedTensors } from "../adapters/peft-tensors.ts";
import { AdapterError } from "../base/errors.ts";
import { checkFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { inFileOrder, streamSafetensors, type TensorInfo } from "../checkpoint/safetensors.ts";
import { bytesOf, tensorBytes } from "../pickle/read-tensor.ts";
import { openTorchFile, type TorchFile } from "../pickle/torch-file.ts";
import { exists } from "./files.ts";
import { adapterFolder } from "./peft.ts";

/** Other files of an adapter's folder that are copied. */
const COMPANIONS = ["README.md", GATE_CONFIG_FILE, GATE_FILE];

/** Tensors may share their numbers. If together they are this many times the file's size, it is not an adapter. */
const MOST_REPEATS = 4;

export interface ConvertedAdapter {
  readonly directory: string;
  /** The pickle that was converted. */
  readonly source: string;
  readonly tensors: number;
  readonly bytes: number;
  readonly warnings: readonly string[];
}

/** Whether `path` is an adapter that exists only as a pickle: its folder, or the .bin file itself. */
export async function isPickledAdapter(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined); // absent: opening it reports that
  if (found?.isFile()) return PICKLE.test(path);
  if (!found) return false;
  const folder = await adapterFolder(path).catch(() => path); // no adapter: opening it reports that
  return !(await exists(join(folder, TENSOR_FILE))) && (await exists(join(folder, PICKLE_FILE)));
}
const PICKLE = /\.(?:bin|pt|pth)$/;

/** Writes the adapter of a folder with adapter_model.bin, or of such a file with adapter_config.json beside it, to the folder `out`. */
export async function convertPeft(source: string, out: string): Promise<ConvertedAdapter> {
  const { folder, file } = await pickled(source);
  const configFile = join(folder, CONFIG_FILE);
  const config = await readFile(configFile, "utf8").catch((cause: unknown) => {
    const what = `The file has no ${CONFIG_FILE} beside it, which says how its tensors are used.`;
    throw new AdapterError({
      code: "adapter-incomplete",
      what,
      where: folder,
      fix: `Fetch ${CONFIG_FILE} of the same adapter too.`,
      cause,
    });
  });
  const { warnings } = parsePeftConfig(config, configFile);
  await checkFolder(out);
  if (await exists(join(out, TENSOR_FILE))) {
    const what = "There is an adapter here already.";
    throw new AdapterError({ code: "adapter-exists", what, where: out, fix: "Choose another folder.", data: { folder: out } });
  }
  using torch = openTorchFile(file);
  const bytes = checkedBytes(torch);
  const tensors = [...torch.tensors].map(([name, view]) => ({ name, ...view }));
  tensors.sort(inFileOrder);
  await streamSafetensors(join(out, TENSOR_FILE), tensors, async (name) => tensorBytes(torch, name, torch.tensors.get(name)!));
  if (resolve(folder) !== resolve(out)) {
    for (const name of COMPANIONS) {
      const path = join(folder, name);
      if (await exists(path)) await writeFileAtomically(join(out, name), await readFile(path));
    }
    // Written last: it marks a complete adapter.
    await writeFileAtomically(join(out, CONFIG_FILE), config);
  }
  return { directory: out, source: file, tensors: tensors.length, bytes, warnings };
}

async function pickled(source: string): Promise<{ folder: string; file: string }> {
  const found = await stat(source).catch(() => undefined); // absent: adapterFolder reports that
  if (found?.isFile()) return { folder: dirname(resolve(source)), file: source };
  const folder = await adapterFolder(source);
  const file = join(folder, PICKLE_FILE);
  if (await exists(file)) return { folder, file };
  const isDone = await exists(join(folder, TENSOR_FILE));
  throw new AdapterError({
    code: isDone ? "adapter-exists" : "adapter-not-found",
    data: { folder },
    what: isDone ? `The adapter is in ${TENSOR_FILE} already.` : `The folder holds no ${PICKLE_FILE}.`,
    where: folder,
    fix: isDone ? "Use it as it is." : "Give the folder of an adapter that PEFT saved, or the file itself.",
  });
}

/** The bytes of the file's tensors, if all of them belong to an adapter. */
function checkedBytes(torch: TorchFile): number {
  const [other] = torch.others;
  if (other) {
    const what = `"${other[0]}" is ${other[1]}, and no tensor; an adapter's file holds tensors only.`;
    throw new AdapterError({
      code: "adapter-unsupported",
      what,
      where: torch.name,
      fix: "Give the adapter_model.bin that PEFT saved, not a training checkpoint.",
    });
  }
  const infos = [...torch.tensors].map(([name, view]): [string, TensorInfo] => {
    const { dtype, shape } = view;
    return [name, { name, dtype, shape, file: torch.name, offset: 0, bytes: bytesOf(view) }];
  });
  sortedTensors(new Map(infos), torch.name);
  const bytes = infos.reduce((sum, [, info]) => sum + info.bytes, 0);
  if (bytes <= MOST_REPEATS * torch.bytes) return bytes;
  const what = `The tensors of ${basename(torch.name)} take ${bytes} bytes and share ${torch.bytes}: they repeat the same numbers.`;
  throw new AdapterError({ code: "adapter-unsupported", what, where: torch.name, fix: "Save them again with .contiguous()." });
}
