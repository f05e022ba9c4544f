/** @file Folders of experts from a shell's * pattern. */

import { OptionError } from "../base/errors.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";

/** `folders` without the run folders that `skein train` and `skein gate` keep beside the expert, and warnings that name those. */
export async function expertFolders(io: Io, flags: CommonFlags, folders: readonly string[]): Promise<string[]> {
  const { isRun } = await import("../training/run.ts");
  const runs = new Set<string>();
  for (const folder of folders) if (await isRun(folder)) runs.add(folder);
  warn(
    io,
    flags,
    [...runs].map((run) => `${run} is the folder of a training run, not an adapter: skipped.`),
  );
  const experts = folders.filter((folder) => !runs.has(folder));
  if (experts.length > 0 || folders.length === 0) return experts;
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "experts", got: folders.join(", "), known: [] },
    what: "None of these folders is an expert.",
    where: folders.join(", "),
    fix: "Pass the folder from --out.",
  });
}
