/** @file `skein chat`: a conversation in the terminal, with the expert of each token shown on request. */

import type { Command } from "commander";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { type CommonFlags, type Io, warn } from "../io.ts";
import { type SamplingFlags, samplingOptions, withSamplingFlags } from "./generate.ts";

interface Flags extends CommonFlags, ModelFlags, SamplingFlags {
  readonly system?: string;
  readonly experts?: boolean;
}

export function addChat(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "chat", {
    summary,
    example: "skein chat --base models/smollm-instruct --pool my-pool --experts",
  });
  withSamplingFlags(withModelFlags(command))
    .option("--system <text>", "the system message")
    .option("--experts", "show which expert served each token most: by color, or by name where there are none")
    .action(async (flags: Flags) => {
      const { loadModel } = await import("../../library/model.ts");
      const { unheededDefaults } = await import("../../generation/options.ts");
      const { longestSequence } = await import("../../evaluation/scoring/length.ts");
      const { talk } = await import("../talk.ts");
      const { createInterface } = await import("node:readline/promises");
      const warnings: string[] = [];
      await using model = await loadModel(flags.base, { ...flags, onWarning: (warning) => warnings.push(warning) });
      warn(io, flags, [...warnings, ...unheededDefaults(model.base.checkpoint)]);
      const conversation = await model.chat({ system: flags.system, ...samplingOptions(flags) });
      const interactive = io.terminal && process.stdin.isTTY;
      const lines = createInterface({ input: process.stdin, ...(interactive ? { output: process.stderr } : {}), prompt: "> " });
      const shown = flags.experts === true;
      const longest = longestSequence(model);
      await talk(io, flags, lines, { conversation, experts: model.woven.experts, shown, interactive, longest });
    });
}
