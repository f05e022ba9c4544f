/** @file `skein chat`: a conversation in the terminal, with the expert of each token shown on request. */

import type { Command } from "commander";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { coloured, expertOf, legend } from "../expert-colours.ts";
import { type CommonFlags, type Io, warn } from "../io.ts";
import { type SamplingFlags, samplingOptions, withSamplingFlags } from "./generate.ts";

interface Flags extends CommonFlags, ModelFlags, SamplingFlags {
  readonly system?: string;
  readonly experts?: boolean;
}

export function addChat(program: Command, io: Io): void {
  const command = subcommand(program, "chat", {
    summary: "Talk to a model with a chat template. /experts shows who served each token, /reset starts anew, /quit ends.",
    example: "skein chat --base models/smollm-instruct --pool my-pool --experts",
  });
  withSamplingFlags(withModelFlags(command))
    .option("--system <text>", "the system message")
    .option("--experts", "colour each token by the expert that served it most")
    .action(async (flags: Flags) => {
      const { openModel } = await import("../../inference/open.ts");
      const { loadTokenizer } = await import("../../text/tokenizer.ts");
      const { Conversation } = await import("../conversation.ts");
      const { model, warnings } = await openModel(flags);
      await using _ = model;
      warn(io, flags, warnings);
      const tokenizer = await loadTokenizer(model.checkpoint.directory);
      const conversation = new Conversation(model, tokenizer, { system: flags.system, ...samplingOptions(flags) });
      await talk(io, flags, conversation, model.overlay.experts);
    });
}

async function talk(io: Io, flags: Flags, conversation: import("../conversation.ts").Conversation, experts: readonly string[]) {
  const { createInterface } = await import("node:readline/promises");
  const lines = createInterface({ input: process.stdin, ...(io.terminal ? { output: process.stderr } : {}), prompt: "> " });
  let shown = flags.experts === true && experts.length > 0;
  let answering: AbortController | undefined;
  lines.on("SIGINT", () => (answering ? answering.abort() : lines.close()));
  if (shown) io.err(`${legend(experts)}\n`);
  lines.prompt();
  for await (const line of lines) {
    if (line === "/quit") break;
    if (line === "/reset") conversation.reset();
    else if (line === "/experts") {
      shown = !shown && experts.length > 0;
      io.err(shown ? `${legend(experts)}\n` : experts.length > 0 ? "Experts are hidden.\n" : "There are no experts: give --pool.\n");
    } else if (line.trim() !== "") {
      answering = new AbortController();
      for await (const { text, route } of conversation.answer(line, answering.signal)) {
        if (flags.json) io.out(`${JSON.stringify({ text, ...(route && { expert: experts[expertOf(route)] }) })}\n`);
        else io.out(shown && io.colours && route ? coloured(text, expertOf(route)) : text);
      }
      answering = undefined;
      if (!flags.json) io.out("\n");
    }
    lines.prompt();
  }
  lines.close();
}
