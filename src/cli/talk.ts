/** @file A conversation line by line: it reads the user's messages and streams the answers.
 *
 *  A line is a message, or a command when it is one of COMMANDS; """ opens a message of several lines and closes it. */

import type { Interface } from "node:readline/promises";
import { UserError } from "../base/errors.ts";
import type { Conversation } from "../generation/conversation.ts";
import { expertMarker, expertOf, legend } from "./expert-colors.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";

const COMMANDS = {
  "/experts": "show or hide the expert of each token",
  "/reset": "restart the conversation",
  "/help": "this list",
  "/quit": "end (so does Ctrl-D)",
} as const;
const HELP = `${Object.entries(COMMANDS)
  .map(([name, what]) => `${name.padEnd(10)}${what}`)
  .join("\n")}\n"""       open and close a message of several lines\nCtrl-C    interrupt an answer\n`;
const QUOTES = '"""';

export interface TalkOptions {
  readonly conversation: Conversation;
  /** Names of the pool's experts; empty without a pool. */
  readonly experts: readonly string[];
  /** Whether to show them from the start. */
  readonly shown: boolean;
  /** Whether the input is a terminal. Then an error is printed and the conversation continues. */
  readonly interactive: boolean;
  /** The maximum text length in the model's training, if known. */
  readonly longest?: number | undefined;
}

/** Runs the conversation until the input ends or /quit. */
export async function talk(io: Io, flags: CommonFlags, lines: Interface, options: TalkOptions): Promise<void> {
  const { conversation, experts, interactive } = options;
  let shown = options.shown && experts.length > 0;
  let answering: AbortController | undefined;
  let warned = false;
  lines.on("SIGINT", () => (answering ? answering.abort() : lines.close()));
  if (interactive && !flags.json) io.err("/help lists the commands.\n");
  if (shown) io.err(`${legend(experts, io)}\n`);
  for await (const message of messages(lines)) {
    if (message === "/quit") break;
    else if (message === "/help") io.err(HELP);
    else if (message === "/reset") {
      conversation.reset();
      io.err("The conversation is restarted.\n");
    } else if (message === "/experts") {
      shown = !shown && experts.length > 0;
      io.err(shown ? `${legend(experts, io)}\n` : experts.length > 0 ? "Experts are hidden.\n" : "There are no experts: pass --pool.\n");
    } else if (/^\/[a-z]+$/.test(message)) io.err(`There is no command ${message}.\n${HELP}`);
    else if (message.trim() !== "") {
      answering = new AbortController();
      await answer(io, flags, { ...options, shown, message, signal: answering.signal });
      answering = undefined;
      if (options.longest !== undefined && conversation.length > options.longest && !warned) {
        warned = true;
        const lengths = `The conversation has ${conversation.length} tokens, and the model was trained for at most ${options.longest}`;
        warn(io, flags, [`${lengths}: answers may be poor. /reset restarts the conversation.`]);
      }
    }
  }
  lines.close();
  if (interactive) io.err("\n"); // the next output begins on a new line
}

/** The user's messages, with a prompt before each. */
async function* messages(lines: Interface): AsyncGenerator<string> {
  let block: string[] | undefined;
  // Piped input may end while the first lines are answered. Node 24 refuses a prompt after the end.
  let ended = false;
  lines.once("close", () => {
    ended = true;
  });
  lines.prompt();
  for await (const line of lines) {
    if (block === undefined && !line.startsWith(QUOTES)) yield line;
    else {
      const text: string = block === undefined ? line.slice(QUOTES.length) : line;
      const closes = text.trimEnd().endsWith(QUOTES);
      block = [...(block ?? []), closes ? text.trimEnd().slice(0, -QUOTES.length) : text];
      if (closes) {
        yield block.join("\n").trim();
        block = undefined;
      }
    }
    lines.setPrompt(block === undefined ? "> " : ". ");
    if (!ended) lines.prompt();
  }
}

interface Turn extends TalkOptions {
  readonly message: string;
  readonly signal: AbortSignal;
}

async function answer(io: Io, flags: CommonFlags, { conversation, experts, interactive, shown, message, signal }: Turn): Promise<void> {
  const marked = expertMarker(experts, io);
  try {
    for await (const { text, route } of conversation.answer(message, signal)) {
      if (flags.json) io.out(`${JSON.stringify({ text, ...(route && { expert: experts[expertOf(route)] }) })}\n`);
      else io.out(shown && route ? marked(text, expertOf(route)) : text);
    }
    io.out(flags.json ? `${JSON.stringify({ end: true, ...conversation.usage })}\n` : "\n");
  } catch (error) {
    if (!(error instanceof UserError && interactive)) throw error;
    io.err(flags.json ? `${JSON.stringify({ error: { name: error.name, what: error.what } })}\n` : `${error.name}: ${error.message}\n`);
  }
}
