/** @file `skein generate`: prompts in, text out as it comes. */

import { type Command, InvalidArgumentError } from "commander";
import { counted } from "../../base/counted.ts";
import type { CompletionEvent } from "../../generation/generate.ts";
import { RANGES } from "../../generation/ranges.ts";
import type { Choice } from "../../generation/sampler.ts";
import type { Model } from "../../inference/model.ts";
import type { RowChoice } from "../../inference/row-choices.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { list, type ModelFlags, number, numberIn, subcommand, wholeNumber, withModelFlags } from "../command.ts";
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
  readonly stopIds?: readonly number[];
  readonly ignoreEos?: boolean;
  readonly logitBias?: Readonly<Record<string, number>>;
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
    .option("--temperature <t>", "0 takes the likeliest token (default: the model's, else 0)", numberIn(RANGES.temperature))
    .option("--sample-top-k <k>", "sample among the k likeliest tokens", wholeNumber(0))
    .option("--top-p <p>", "sample among the likeliest tokens that together reach this probability", numberIn(RANGES.topP))
    .option("--min-p <p>", "sample among tokens at least this fraction as likely as the likeliest", numberIn(RANGES.minP))
    .option("--repetition-penalty <x>", "make tokens already there less likely (1: not)", numberIn(RANGES.repetitionPenalty))
    .option("--frequency-penalty <x>", "take this off a token's logit each time it was generated", numberIn(RANGES.frequencyPenalty))
    .option("--presence-penalty <x>", "take this off a token's logit once it was generated", numberIn(RANGES.presencePenalty))
    .option("--seed <n>", "make sampling repeatable", wholeNumber(0))
    .option("--stop <texts...>", "texts that end a completion; give them behind the prompt")
    .option("--stop-ids <ids>", "token ids that end a completion, as in 13,198", (text) => list(text).map(wholeNumber(0)))
    .option("--ignore-eos", "go on after the model's end of sequence")
    .option("--logit-bias <pairs>", "numbers to add to tokens' logits, as in 13:-100,198:2.5", biases);
}

function biases(text: string): Record<string, number> {
  const pairs = list(text).map((pair) => {
    const [id = "", bias = "", ...rest] = pair.split(":");
    if (bias === "" || rest.length > 0) throw new InvalidArgumentError("Expected pairs of token id and number, as in 13:-100,198:2.5.");
    return [wholeNumber(0)(id), number(bias)] as const;
  });
  return Object.fromEntries(pairs);
}

/** Generation's options as the library calls them. */
export function samplingOptions({ sampleTopK, ...flags }: SamplingFlags) {
  const { maxNewTokens, temperature, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, seed, ignoreEos, logitBias } = flags;
  const options = {
    maxNewTokens,
    temperature,
    topP,
    minP,
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
    seed,
    ignoreEos,
    logitBias,
  };
  const { stop, stopIds } = flags;
  return { ...options, topK: sampleTopK, ...(stop && { stop: [...stop] }), ...(stopIds && { stopIds: [...stopIds] }) };
}

export function addGenerate(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "generate <prompts...>", {
    summary,
    example: 'skein generate "Once upon a time" --base models/tinystories --max-new-tokens 60',
  });
  withSamplingFlags(withModelFlags(command))
    .option("--n <count>", "completions of each prompt", wholeNumber(1))
    .option("--logprobs <alternatives>", "with --json: each token's log-probability and those of so many alternatives", wholeNumber(0))
    .option("--routes", "with --json: which experts served each token")
    .option("--experts <choices>", 'for each prompt the experts it may use, as in "law,law+code,*": one, two, all', list)
    .action(async (prompts: readonly string[], flags: Flags) => {
      const { loadModel } = await import("../../library/model.ts");
      const { unheededDefaults } = await import("../../generation/options.ts");
      const warnings: string[] = [];
      await using model = await loadModel(flags.base, {
        ...flags,
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

/** Rows that choose as the flag says: for each prompt names joined by +, or * for what the router does. */
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
      fix: "Give one for each prompt, separated by commas; * lets a prompt use all.",
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
    if (signal.aborted) report(); // what is complete
    throw error;
  }
  report();
}

/** A completion as JSON can hold it; routes as nested lists, [token][k]. */
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
