/** @file `skein chat`: a conversation in the terminal, with the expert of each token shown on request. */

import { type Command, InvalidArgumentError } from "commander";
import * as z from "zod";
import { isObject, toolList } from "../../text/tool-calls.ts";
import { baseOptions } from "../base-model.ts";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { checkedDate, date, dateOf } from "../common-options.ts";
import { type Io, warn } from "../io.ts";
import { withOptions } from "../schema-options.ts";
import { samplingOptions, withSamplingFlags } from "./generate.ts";

const chatFlags = z.strictObject({
  system: z.string().optional().meta({ description: "The system message.", value: "text" }),
  tools: z
    .string()
    .optional()
    .meta({ description: "A JSON file with the tools that the chat template describes to the model.", value: "file" }),
  chatTemplateKwargs: z.string().optional().meta({
    description: "Variables of the chat template, as in '{\"enable_thinking\": false}'.",
    value: "json",
  }),
  date,
  showExperts: z
    .boolean()
    .default(false)
    .meta({ description: "Show the expert with the most weight for each token: by color, or by name without colors." }),
});
type Flags = ModelFlags & z.input<typeof chatFlags>;

export function addChat(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "chat", {
    summary,
    example: "skein chat --base models/smollm-instruct --pool my-pool --show-experts",
  });
  withModelFlags(command);
  withOptions(command, chatFlags, { parsers: { date: checkedDate, chatTemplateKwargs: jsonObject } });
  withSamplingFlags(command).action(async (flags: Flags) => {
    const { loadModel } = await import("../../library/model.ts");
    const { unheededDefaults } = await import("../../generation/options.ts");
    const { longestSequence } = await import("../../evaluation/scoring/length.ts");
    const { talk } = await import("../talk.ts");
    const { createInterface } = await import("node:readline/promises");
    const warnings: string[] = [];
    await using model = await loadModel(flags.base, {
      ...flags,
      ...baseOptions(io, flags),
      onWarning: (warning) => warnings.push(warning),
    });
    warn(io, flags, [...warnings, ...unheededDefaults(model.base.checkpoint)]);
    const conversation = await model.chat({
      system: flags.system,
      tools: flags.tools === undefined ? undefined : await toolsIn(flags.tools),
      templateVariables: flags.chatTemplateKwargs === undefined ? undefined : JSON.parse(flags.chatTemplateKwargs),
      date: dateOf(flags.date),
      ...samplingOptions(flags),
    });
    const interactive = io.terminal && process.stdin.isTTY;
    const lines = createInterface({ input: process.stdin, ...(interactive ? { output: process.stderr } : {}), prompt: "> " });
    const shown = flags.showExperts === true;
    const longest = longestSequence(model);
    await talk(io, flags, lines, { conversation, experts: model.woven.experts, shown, interactive, longest });
  });
}

/** Parses the text of a JSON object. */
function jsonObject(text: string): string {
  try {
    if (isObject(JSON.parse(text))) return text;
  } catch {
    // the error below covers this case too
  }
  throw new InvalidArgumentError("Expected a JSON object.");
}

/** The tools in a JSON file. */
async function toolsIn(path: string) {
  const { readUtf8 } = await import("../../data/rows.ts");
  return toolList(await readUtf8(path), path);
}
