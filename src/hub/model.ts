/** @file The files of a model or adapter on the hub: JSON, tokenizer files and safetensors at the top of the repository. Pickles and
 *  copies for other frameworks are left out. */

import { CheckpointError } from "../base/errors.ts";
import { placeOf } from "./access.ts";
import type { HubRepository } from "./cache.ts";
import { type DownloadOptions, remoteFiles } from "./files.ts";

/** Downloads `model` into the cache and returns its snapshot folder. Files that are there already are not fetched again. */
export async function downloadModel(model: HubRepository, options: DownloadOptions): Promise<string> {
  const { entries, fetch } = await remoteFiles(model, { ...options, recursive: false });
  return fetch(wantedFiles([...entries.keys()], model));
}

/** The files of a checkpoint or adapter. */
function wantedFiles(paths: readonly string[], model: HubRepository): string[] {
  const tensors = paths.includes("model.safetensors") ? /^model\.safetensors$/ : /^model[^/]*\.safetensors$/;
  const others = /^[^/\\]+\.(json|jinja|tiktoken|model)$|^(vocab|merges)\.txt$|^(adapter|gate)_model\.safetensors$/;
  const wanted = paths.filter((path) => tensors.test(path) || others.test(path));
  if (wanted.some((path) => path.endsWith(".safetensors"))) return wanted;
  const pickle = paths.find((path) => /\.(bin|pt|pth|ckpt)$/.test(path));
  if (pickle !== undefined) {
    throw new CheckpointError({
      code: "checkpoint-pickled",
      data: { folder: "" },
      where: placeOf(model),
      what: `This model's tensors are pickled (${pickle}); opening a pickle can run code, so it is not fetched.`,
      fix: `See its page for a revision with safetensors (the hub's converter offers one as ${model.name}@refs/pr/N), or download it and convert it, which runs nothing.`,
    });
  }
  throw new CheckpointError({
    code: "checkpoint-no-tensors",
    where: placeOf(model),
    what: "This repository holds no safetensors.",
    fix: "Check that this is the model you meant.",
  });
}
