/** @file The command line: flags -> configuration -> call. Heavy modules are imported by the command that runs, so that
 *  `skein --help` is fast.
 *
 *  Exit codes: 0 done; 1 a problem that you can fix (printed as what, where, fix); 70 a bug in Skein (printed with its stack). */

import { Command, CommanderError } from "commander";
import { UserError } from "../base/errors.ts";
import { asWriteProblem } from "../checkpoint/atomic.ts";
import { packageVersion } from "../storage/version.ts";
import { addCommands } from "./command-list.ts";
import { type Io, processIo } from "./io.ts";
import { onCommandLine } from "./remedies.ts";

/** Runs one command line (without node and script name) and returns its exit code. */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const isJson = argv.includes("--json");
  try {
    // Commander prints usage errors as text; with --json, failure() prints them.
    const skein = program(isJson ? { ...io, err: () => undefined } : io);
    await addCommands(skein, argv, io);
    await skein.parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    return failure(error, io, isJson);
  }
}

function program(usage: Io): Command {
  return new Command("skein")
    .description("Many LoRA experts woven into one language model.")
    .version(packageVersion(), "--version", "print the version")
    .helpCommand(false)
    .enablePositionalOptions() // options after "demo moa" belong to it, although demo has options with the same names
    .showSuggestionAfterError()
    .showHelpAfterError("(use --help to see the options and an example)")
    .addHelpText(
      "after",
      "\nResults go to stdout; progress, warnings and errors to stderr.\nExit codes: 0 done, 1 a problem that you can fix, 70 a bug in Skein.\n\nExample:\n  $ skein forward --help",
    )
    .exitOverride()
    .configureOutput({
      writeOut: usage.out,
      writeErr: usage.err,
      getOutHelpWidth: () => usage.columns,
      getErrHelpWidth: () => usage.columns,
    });
}

/** An unexpected file system error is not a bug in Skein. */
function fileProblem(error: unknown): unknown {
  const at = error instanceof Error && "path" in error ? String(error.path) : "";
  return at === "" ? error : asWriteProblem(error, at);
}

function usageProblem({ message }: CommanderError) {
  return {
    name: "OptionError",
    code: "option-invalid",
    what: message.replace(/^error: /, ""),
    where: "command line",
    fix: "Use --help to see the options and an example.",
  };
}

function failure(error: unknown, io: Io, json: boolean): number {
  if (error instanceof CommanderError) {
    if (json && error.exitCode !== 0) io.err(`${JSON.stringify({ error: usageProblem(error) })}\n`); // without --json, commander has already printed it
    return error.exitCode === 0 ? 0 : 1;
  }
  const problem = fileProblem(error);
  if (problem instanceof UserError) {
    const { name } = problem;
    const { what, where, fix, ...rest } = onCommandLine(problem);
    const text = `${name}: ${what}${where ? `\n  where: ${where}` : ""}\n  fix:   ${fix}\n`;
    io.err(json ? `${JSON.stringify({ error: { name, what, where, fix, ...rest } })}\n` : text);
    return 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  io.err(
    json
      ? `${JSON.stringify({ bug: text })}\n`
      : `${text}\n\nThis is a bug in Skein, not in what you did. Please report it with the lines above.\n`,
  );
  return 70;
}
