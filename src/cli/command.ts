/** @file Declares commands, with the flags of all commands and those of a woven model. */

import type { Command } from "commander";
import * as z from "zod";
import { wovenOptions } from "../methods/woven-options.ts";
import { baseModel } from "./common-options.ts";
import type { CommonFlags } from "./io.ts";
import { withOptions } from "./schema-options.ts";

export interface Declaration {
  readonly summary: string;
  /** A command line that works, shown under --help. */
  readonly example: string;
}

/** Adds the command `usage` ("name <argument>") to `parent`, with --json and its example. */
export function subcommand(parent: Command, usage: string, { summary, example }: Declaration): Command {
  return parent
    .command(usage)
    .description(summary)
    .option("--json", "print the result as one JSON document, and progress as JSON lines on stderr")
    .addHelpText("after", `\nExample:\n  $ ${example.replaceAll("\n", "\n    ")}`);
}

const baseFlag = z.strictObject(baseModel);

/** The flags that select the model: a base, and the adapter or pool on it. */
export type ModelFlags = CommonFlags & z.input<typeof baseFlag> & z.input<typeof wovenOptions>;

export function withModelFlags(command: Command): Command {
  return withOptions(withOptions(command, baseFlag), wovenOptions, { group: "Experts:" });
}
