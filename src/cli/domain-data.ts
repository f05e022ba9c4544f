/** @file The domains from "name=file" arguments. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import { OptionError } from "../base/errors.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Model } from "../inference/model.ts";
import type { DomainData } from "../training/train-moa.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";

/** Lists of "name=path". */
export interface DomainFlags {
  readonly domains: readonly string[];
  /** Folders of LoRAs that are already trained. */
  readonly loras?: readonly string[] | undefined;
  readonly validation?: readonly string[] | undefined;
  /** Texts that a trained LoRA writes itself, for a domain without a file. */
  readonly written?: (name: string, adapter: LoraAdapter) => Promise<readonly TrainingExample[]>;
}

/** The domains with their files and folders. */
export async function dataOf(
  io: Io,
  flags: CommonFlags,
  model: Model,
  { domains, loras = [], validation = [], written }: DomainFlags,
): Promise<DomainData[]> {
  const [files, folders, held] = [pairs(domains, "--domains"), pairs(loras, "--loras"), pairs(validation, "--validation")];
  const known = new Set([...files.keys(), ...(written ? folders.keys() : [])]);
  for (const name of [...folders.keys(), ...held.keys()]) if (!known.has(name)) throw unknownDomain(name, [...known]);
  const read: DomainData[] = [];
  for (const [name, file] of files) {
    const paths = { name, file, lora: folders.get(name), validation: held.get(name) };
    read.push(await domainOf(io, flags, model, paths));
  }
  for (const [name, folder] of folders) {
    if (files.has(name) || !written) continue;
    const adapter = await loraIn(io, flags, folder, model);
    read.push({ name, training: await written(name, adapter), adapter });
  }
  return read;
}

interface DomainPaths {
  readonly name: string;
  readonly file: string;
  readonly lora?: string | undefined;
  readonly validation?: string | undefined;
}

/** One domain. */
export async function domainOf(
  io: Io,
  flags: CommonFlags,
  model: Model,
  { name, file, lora, validation }: DomainPaths,
): Promise<DomainData> {
  const { readTrainingExamples } = await import("../data/training-data.ts");
  const onWarning = (message: string) => warn(io, flags, [message]);
  return {
    name,
    training: await readTrainingExamples(file, { onWarning }),
    ...(validation !== undefined && { validation: await readTrainingExamples(validation, { onWarning }) }),
    ...(lora !== undefined && { adapter: await loraIn(io, flags, lora, model) }),
  };
}

function pairs(texts: readonly string[], option: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const text of texts) {
    const cut = text.indexOf("=");
    const [name, path] = [text.slice(0, Math.max(cut, 0)), text.slice(cut + 1)];
    if (name === "" || path === "") {
      const fix = "Write a domain's name, an equals sign and its file or folder: finance=a.jsonl.";
      throw new OptionError({
        code: "option-bad-assignment",
        data: { option, got: text },
        what: `"${text}" names no file.`,
        where: option,
        fix,
      });
    }
    if (paths.has(name)) {
      const what = `The domain "${name}" is given twice: ${paths.get(name)} and ${path}.`;
      throw new OptionError({
        code: "option-duplicate",
        data: { option, got: name },
        what,
        where: option,
        fix: "Give each domain its own name, or put its examples into one file.",
      });
    }
    paths.set(name, path);
  }
  return paths;
}

export function unknownDomain(name: string, known: readonly string[]): OptionError {
  return new OptionError({
    code: "option-unknown-value",
    data: { option: "domains", got: name, known },
    what: `"${name}" is not one of the domains.`,
    fix: `Name one of: ${known.join(", ")}.`,
  });
}

async function loraIn(io: Io, flags: CommonFlags, folder: string, model: Model): Promise<LoraAdapter> {
  const { loadExpert } = await import("../storage/expert.ts");
  const { lorasOf } = await import("../inference/moa-woven.ts");
  const expert = await loadExpert(folder, model.base.modules);
  warn(io, flags, expert.warnings);
  return lorasOf([expert])[0]!;
}
