/** @file `skein generate`: prompts in, text out as it comes. */

import type { Command } from "commander";
import type { CompletionEvent } from "../../generation/generate.ts";
import type { Choice } from "../../generation/sampler.ts";
import type { Model } from "../../inference/model.ts";
import type { RowBias } from "../../inference/overlay.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { list, type ModelFlags, number, subcommand, wholeNumber, withModelFlags } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, warn } from "../io.ts";

export interface SamplingFlags {
  readonly maxNewTokens?: number;
  readonly temperature?: number;
  readonly sampleTopK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
}
interface Flags extends CommonFlags, ModelFlags, SamplingFlags {
  readonly n?: number;
  readonly logprobs?: number;
  readonly routes?: boolean;
  readonly experts?: readonly string[];
}

export function withSamplingFlags(command: Command): Command {
  return command
    .option("--max-new-tokens <n>", "most tokens of one completion (default: the model's, else 256)", wholeNumber(1))
    .option("--temperature <t>", "0 takes the likeliest token (default: the model's, else 0)", number)
    .option("--sample-top-k <k>", "sample among the k likeliest tokens", wholeNumber(0))
    .option("--top-p <p>", "sample among the likeliest tokens that together reach this probability", number)
    .option("--min-p <p>", "sample among tokens at least this fraction as likely as the likeliest", number)
    .option("--repetition-penalty <x>", "make tokens already there less likely (1: not)", number)
    .option("--frequency-penalty <x>", "take this off a token's logit each time it was generated", number)
    .option("--presence-penalty <x>", "take this off a token's logit once it was generated", number)
    .option("--seed <n>", "make sampling repeatable", wholeNumber(0))
    .option("--stop <texts...>", "texts that end a completion");
}

/** Generation's options as the library calls them. */
export function samplingOptions({ sampleTopK, ...flags }: SamplingFlags) {
  const { maxNewTokens, temperature, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, seed, stop } = flags;
  const options = { maxNewTokens, temperature, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, seed };
  return { ...options, topK: sampleTopK, ...(stop && { stop: [...stop] }) };
}

export function addGenerate(program: Command, io: Io): void {
  const command = subcommand(program, "generate <prompts...>", {
    summary: "Continue one prompt, or several side by side. Text appears as it is made; with --json at the end.",
    example: 'skein generate "Once upon a time" --base models/tinystories --max-new-tokens 60',
  });
  withSamplingFlags(withModelFlags(command))
    .option("--n <count>", "completions of each prompt", wholeNumber(1))
    .option("--logprobs <alternatives>", "with --json: each token's log-probability and those of so many alternatives", wholeNumber(0))
    .option("--routes", "with --json: which experts served each token")
    .option("--experts <choices>", 'for each prompt the experts it may use, as in "law,law+code,*": one, two, all', list)
    .action(async (prompts: readonly string[], flags: Flags) => {
      const { openModel } = await import("../../inference/open.ts");
      const { loadTokenizer } = await import("../../text/tokenizer.ts");
      const { model, warnings } = await openModel({
        ...flags,
        ...(flags.experts && { rows: await choosing(flags.experts, prompts.length) }),
      });
      await using _ = model;
      warn(io, flags, warnings);
      const tokenizer = await loadTokenizer(model.checkpoint.directory);
      await interruptible(io, (signal) => print(io, flags, model, tokenizer, prompts, signal));
    });
}

/** Rows that choose as the flag says: for each prompt names joined by +, or * for what the router does. */
async function choosing(choices: readonly string[], prompts: number): Promise<(own: RowBias) => RowBias> {
  const { namedExperts, rowsOf } = await import("../../inference/row-choices.ts");
  const { OptionError } = await import("../../base/errors.ts");
  if (choices.length !== prompts) {
    const what = `${choices.length} choices of experts for ${prompts} prompts.`;
    throw new OptionError({ what, where: "--experts", fix: "Give one for each prompt, separated by commas; * lets a prompt use all." });
  }
  return (own) => rowsOf(choices.map((choice) => (choice === "*" ? own : namedExperts(choice.split("+")))));
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
    if (json) io.out(`${JSON.stringify({ experts: model.overlay.experts, completions: done.map(forMachines) })}\n`);
    else if (streams) io.out("\n");
    else for (const { prompt, text } of done) io.out(`${prompts[prompt]}\n  ${text.trim().replaceAll("\n", "\n  ")}\n`);
  };
  try {
    for await (const event of generate(model, tokenizer, prompts, { ...samplingOptions(flags), n, logprobs, routes, signal })) {
      if (event.kind === "token") {
        const { id, logprob, topLogprobs } = event;
        choices.set(event.index, [...(choices.get(event.index) ?? []), { id, ...(logprob !== undefined && { logprob, topLogprobs }) }]);
        if (streams) io.out(event.text);
      } else done.push({ ...event, choices: choices.get(event.index) ?? [] });
    }
  } catch (error) {
    if (signal.aborted) report(); // what is complete
    throw error;
  }
  report();
}

/** A completion as JSON can hold it; routes as nested lists, [token][k]. */
function forMachines({ kind: _, choices, routes, ...event }: CompletionEvent & { choices: readonly Choice[] }) {
  const logprobs = choices.some(({ logprob }) => logprob !== undefined) ? { logprobs: choices } : {};
  if (!routes) return { ...event, ...logprobs };
  const lists = [...routes].map(([module, { experts, weights }]) => {
    const k = experts.shape[2]!;
    const rows = <T>(values: readonly T[]) =>
      Array.from({ length: values.length / k }, (_, token) => values.slice(token * k, (token + 1) * k));
    return [module, { experts: rows(Array.from(experts.data, Number)), weights: rows([...weights.data]) }];
  });
  return { ...event, ...logprobs, routes: Object.fromEntries(lists) };
}
