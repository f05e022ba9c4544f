/** @file `skein generate`: streams text for prompts. */

import { type Command, InvalidArgumentError } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import type { CompletionEvent } from "../../generation/generate.ts";
import { generationSchema, unheededDefaults } from "../../generation/options.ts";
import type { Choice } from "../../generation/sampler.ts";
import type { Model } from "../../inference/model.ts";
import type { RowChoice } from "../../inference/row-choices.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { baseOptions } from "../base-model.ts";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type Io, warn } from "../io.ts";
import { type FlagRules, list, optionsFrom, withOptions } from "../schema-options.ts";

// --top-k is the router's option, and the model defines its end tokens.
const SAMPLING: FlagRules = {
  group: "Generation:",
  omit: ["n", "logprobs", "routes", "eosIds"],
  names: { topK: "sampleTopK" },
  parsers: { logitBias: biases },
};
const generateFlags = z.strictObject({
  n: generationSchema.shape.n,
  logprobs: generationSchema.shape.logprobs.meta({
    description: "With --json: the log-probability of each token and of this many alternatives.",
    value: "alternatives",
  }),
  routes: generationSchema.shape.routes.meta({ description: "With --json: which experts served each token." }),
  experts: z.array(z.string()).optional().meta({
    description: 'For each prompt the experts it may use, as in "law,law+code,*": one, two, all.',
    value: "choices",
  }),
});
type Flags = ModelFlags & z.input<typeof generateFlags>;

export function withSamplingFlags(command: Command): Command {
  return withOptions(command, generationSchema, SAMPLING);
}

/** The options of generation from the flags, under the library's names. */
export function samplingOptions(flags: object): Record<string, unknown> {
  return optionsFrom(generationSchema, flags, SAMPLING);
}

function biases(text: string): Record<string, number> {
  const pairs = list(text).map((pair) => {
    const [id = "", bias = "", ...rest] = pair.split(":");
    if (bias === "" || rest.length > 0) throw new InvalidArgumentError(PAIRS);
    return [tokenId(id), finite(bias)] as const;
  });
  return Object.fromEntries(pairs);
}

const PAIRS = "Expected pairs of token id and number, as in 13:-100,198:2.5.";

function tokenId(text: string): string {
  if (/^\d+$/.test(text.trim())) return text.trim();
  throw new InvalidArgumentError(PAIRS);
}

function finite(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new InvalidArgumentError(PAIRS);
}

export function addGenerate(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "generate <prompts...>", {
    summary,
    example: 'skein generate "Once upon a time" --base models/tinystories --max-new-tokens 60',
  });
  withModelFlags(command);
  withOptions(command, generateFlags);
  withSamplingFlags(command).action(async (prompts: readonly string[], flags: Flags) => {
    const { loadModel } = await import("../../library/model.ts");
    const warnings: string[] = [];
    await using model = await loadModel(flags.base, {
      ...flags,
      ...baseOptions(io, flags),
      ...(flags.experts && { rows: await choosing(flags.experts, prompts.length) }),
      onWarning: (warning) => warnings.push(warning),
    });
    const unseen = flags.json ? [] : (["logprobs", "routes"] as const).filter((name) => flags[name] !== undefined);
    const idle = unseen.map((name) => `--${name} is shown with --json only.`);
    warn(io, flags, [...warnings, ...unheededDefaults(model.base.checkpoint), ...idle]);
    const tokenizer = await model.base.tokenizer();
    await interruptible(io, (signal) => print(io, flags, model, tokenizer, prompts, signal));
  });
}

/** The choices of experts from the flag: for each prompt, names joined by +, or * for the router's own choice. */
async function choosing(choices: readonly string[], prompts: number): Promise<RowChoice> {
  const { namedExperts, ownRows, eachRow } = await import("../../inference/row-choices.ts");
  const { OptionError } = await import("../../base/errors.ts");
  if (choices.length !== prompts) {
    const what = `${counted(choices.length, "choice")} of experts for ${counted(prompts, "prompt")}.`;
    throw new OptionError({
      code: "option-count",
      data: { option: "experts", expected: prompts, got: choices.length },
      what,
      where: "--experts",
      fix: "Pass one choice for each prompt, separated by commas. With *, a prompt may use all experts.",
    });
  }
  return eachRow(choices.map((choice) => (choice === "*" ? ownRows : namedExperts(choice.split("+")))));
}

async function print(
  io: Io,
  flags: Flags,
  model: Model,
  tokenizer: Tokenizer,
  prompts: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { generate } = await import("../../generation/generate.ts");
  const { n = 1, logprobs, routes = false, json = false } = flags;
  const streams = !json && prompts.length * n === 1;
  const done: (CompletionEvent & { choices: readonly Choice[] })[] = [];
  const choices = new Map<number, Choice[]>();
  const report = () => {
    done.sort((a, b) => a.index - b.index);
    if (json) io.out(`${JSON.stringify({ experts: model.woven.experts, completions: done.map((one) => forMachines(one, tokenizer)) })}\n`);
    else if (streams) io.out("\n");
    else for (const { prompt, text } of done) io.out(`${prompts[prompt]}\n  ${text.trim().replaceAll("\n", "\n  ")}\n`);
  };
  try {
    for await (const event of generate(model, tokenizer, prompts, { ...samplingOptions(flags), n, logprobs, routes, signal })) {
      if (event.kind === "token") {
        choices.set(event.index, [...(choices.get(event.index) ?? []), event]);
        if (streams) io.out(event.text);
      } else done.push({ ...event, choices: choices.get(event.index) ?? [] });
    }
  } catch (error) {
    if (signal.aborted) report(); // prints the completed ones
    throw error;
  }
  report();
}

/** A completion as JSON, with routes as nested lists [token][k]. */
function forMachines({ kind: _, choices, routes, ...event }: CompletionEvent & { choices: readonly Choice[] }, tokenizer: Tokenizer) {
  const said = ({ id, logprob }: Choice) => ({ id, token: tokenizer.tokenText(id), logprob });
  const chosen = choices.map((choice) => ({
    ...said(choice),
    ...(choice.topLogprobs && { topLogprobs: choice.topLogprobs.map(said) }),
  }));
  const logprobs = choices.some(({ logprob }) => logprob !== undefined) ? { logprobs: chosen } : {};
  if (!routes) return { ...event, ...logprobs };
  const lists = [...routes].map(([module, { experts, weights }]) => {
    const k = experts.shape[2]!;
    const rows = <T>(values: readonly T[]) =>
      Array.from({ length: values.length / k }, (_, token) => values.slice(token * k, (token + 1) * k));
    return [module, { experts: rows(Array.from(experts.data, Number)), weights: rows([...weights.data]) }];
  });
  return { ...event, ...logprobs, routes: Object.fromEntries(lists) };
}
