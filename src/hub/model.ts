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
  throw new CheckpointError({
    code: pickle ? "checkpoint-pickled" : "checkpoint-no-tensors",
    where: placeOf(model),
    what: pickle
      ? `This model's tensors are pickled (${pickle}); opening a pickle runs the code in it, so it is not fetched.`
      : "This repository holds no safetensors.",
    fix: pickle
      ? `See its page for a revision with safetensors (the hub's converter offers one as ${model.name}@refs/pr/N), or convert it with Python and pass the folder.`
      : "Check that this is the model you meant.",
  });
}
