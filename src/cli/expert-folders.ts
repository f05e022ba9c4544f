/** @file Folders of experts as a shell's * gives them. */

import { OptionError } from "../base/errors.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";

/** `folders` without those of training runs, which `skein train` and `skein gate` keep beside the expert; says which they are. */
export async function expertFolders(io: Io, flags: CommonFlags, folders: readonly string[]): Promise<string[]> {
  const { isRun } = await import("../training/run.ts");
  const runs = new Set<string>();
  for (const folder of folders) if (await isRun(folder)) runs.add(folder);
  warn(
    io,
    flags,
    [...runs].map((run) => `${run} keeps what a training run goes on from, no adapter: left out.`),
  );
  const experts = folders.filter((folder) => !runs.has(folder));
  if (experts.length > 0 || folders.length === 0) return experts;
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "experts", got: folders.join(", "), known: [] },
    what: "None of these folders is an expert.",
    where: folders.join(", "),
    fix: "Give the folder that --out named.",
  });
}
