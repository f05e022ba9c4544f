/** @file What all commands share: how one is declared, its flags for a woven model, and the parsing of flag values. */

import { type Command, InvalidArgumentError } from "commander";
import type { Range } from "../generation/ranges.ts";
import { DECISION_RULES, type DecisionRule } from "../routing/moa-decision.ts";

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

/** The flags that say which model to run: a base and what is woven into it. */
export interface ModelFlags {
  readonly base: string;
  readonly adapter?: string;
  readonly pool?: string;
  readonly router?: string;
  readonly topK?: number;
  readonly decide?: DecisionRule;
  readonly domain?: string;
}

export function withModelFlags(command: Command): Command {
  return command
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .option("--adapter <dir>", "one adapter for every token")
    .option("--pool <dir>", "a pool of experts, chosen among for every token")
    .option("--router <name>", "how experts are chosen: one of skein methods, with options or without (default: the pool's own)")
    .option("--top-k <k>", "experts per token at each module (default: the router's)", wholeNumber(1))
    .option(
      "--decide <rule>",
      `how the routers of a pool that skein moa made decide: ${DECISION_RULES.join(", ")} (default: vote; per-layer where they learned without labels)`,
      oneOf(...DECISION_RULES),
    )
    .option("--domain <name>", "the domain, where it is known, for a pool that skein moa made");
}

/** A parser of one of these words. */
export function oneOf<T extends string>(...words: readonly T[]): (text: string) => T {
  return (text) => {
    const word = words.find((known) => known === text);
    if (word) return word;
    throw new InvalidArgumentError(`Expected one of ${words.join(", ")}.`);
  };
}

/** A parser of whole numbers of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
  };
}

/** A parser of numbers. */
export function number(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Expected a number.");
}

/** A parser of numbers from `least` to `most`; with `above`, of numbers greater than it. */
export function numberIn({ least, above, most }: Range): (text: string) => number {
  const low = above !== undefined ? `above ${above}` : `of at least ${least}`;
  const range = most === undefined ? low : `${low} and at most ${most}`;
  return (text) => {
    const value = number(text);
    if (value > (above ?? -Infinity) && value >= (least ?? -Infinity) && value <= (most ?? Infinity)) return value;
    throw new InvalidArgumentError(`Expected a number ${range}.`);
  };
}

/** A parser of lists: "a,b,c". */
export function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** A parser of PEFT's target_modules: names, "q,v"; anything else is one text, "all-linear" or a regular expression. */
export function targetModulesFlag(text: string): string | string[] {
  return /^[\w.,\s]*$/.test(text) ? list(text) : text;
}

/** A parser of lists of numbers: "0.5,0.5". */
export function numbers(text: string): number[] {
  return list(text).map(number);
}

/** The options that were given; whoever takes them checks their kinds. */
export function given(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
