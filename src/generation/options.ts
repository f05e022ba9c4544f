/** @file The options of generation. Their defaults come from the checkpoint's generation_config.json.
 *
 *  If the file sets do_sample, its temperature and cut-offs apply. Values that it lacks are those of transformers: temperature 1, and
 *  the 50 most likely tokens. Without do_sample, decoding is greedy and the file's temperature and cut-offs are ignored. */

import * as z from "zod";
import { CheckpointError, OptionError } from "../base/errors.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";

export const generationSchema = z.strictObject({
  maxNewTokens: z
    .int()
    .min(1)
    .default(256)
    .meta({ description: "The maximum number of tokens in one completion.", unset: "the model's, else 256" }),
  temperature: z
    .number()
    .min(0)
    .default(0)
    .meta({ description: "Divides the logits before sampling; 0 takes the most likely token.", value: "t", unset: "the model's, else 0" }),
  topK: z
    .int()
    .min(0)
    .default(0)
    .meta({ description: "Sample among the k most likely tokens; 0: among all tokens.", value: "k", unset: "the model's, else 0" }),
  topP: z.number().gt(0).max(1).default(1).meta({
    description: "Sample among the most likely tokens that together reach this probability.",
    value: "p",
    unset: "the model's, else 1",
  }),
  minP: z.number().min(0).max(1).default(0).meta({
    description: "Sample among tokens with at least this fraction of the highest probability.",
    value: "p",
    unset: "the model's, else 0",
  }),
  repetitionPenalty: z.number().gt(0).default(1).meta({
    description:
      "For tokens already in the decoder's context, divides positive logits and multiplies negative logits (Keskar et al. 2019).",
    unset: "the model's, else 1",
  }),
  frequencyPenalty: z
    .number()
    .min(-2)
    .max(2)
    .default(0)
    .meta({ description: "Subtracted from a token's logit each time the token was generated." }),
  presencePenalty: z
    .number()
    .min(-2)
    .max(2)
    .default(0)
    .meta({ description: "Subtracted once from the logit of each token that was generated." }),
  logitBias: z
    .record(z.string().regex(/^\d+$/, "expected token ids as keys"), z.number())
    .default({})
    .meta({ description: "Numbers that are added to the logits of tokens, by token id.", value: "id:number,..." }),
  seed: z.int().optional().meta({ description: "Makes sampling repeatable.", unset: "drawn at random" }),
  n: z.int().min(1).default(1).meta({ description: "The number of completions for each prompt.", value: "count" }),
  stop: z
    .union([
      z
        .string()
        .min(1)
        .transform((text) => [text]),
      z.array(z.string().min(1)),
    ])
    .default([])
    .meta({ description: "Texts that end a completion. They are not part of it.", value: "texts", variadic: true }),
  stopIds: z
    .array(z.int())
    .default([])
    .meta({ description: "Token ids that end a completion, in addition to the model's own end of sequence.", value: "ids" }),
  ignoreEos: z.boolean().default(false).meta({ description: "Continue after the model's end of sequence." }),
  eosIds: z.array(z.int()).default([]).meta({ description: "The model's end-of-sequence tokens." }),
  logprobs: z.int().min(0).optional().meta({
    description: "Report the log-probability of each token under the model's own logits, and those of this many alternatives.",
    value: "alternatives",
  }),
  routes: z.boolean().default(false).meta({ description: "Report which experts served each token." }),
});

/** The options as a caller writes them. Each is optional. */
export type GenerationOptions = Readonly<z.input<typeof generationSchema>>;
export type GenerationSettings = Readonly<z.output<typeof generationSchema>>;

/** The fields of generation_config.json that are used here. In that file, null means unset. */
const fileSchema = z.object({
  do_sample: z.boolean().nullish(),
  temperature: z.number().nullish(),
  top_k: z.number().nullish(),
  top_p: z.number().nullish(),
  min_p: z.number().nullish(),
  repetition_penalty: z.number().nullish(),
  max_new_tokens: z.number().nullish(),
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
  stop_strings: z.union([z.string(), z.array(z.string())]).nullish(),
});
const TRANSFORMERS_TOP_K = 50; // the default of GenerationConfig; null in the file means no cut

/** Fields of generation_config.json that are not supported here, with the values that leave generation unchanged. */
const UNHEEDED: Readonly<Record<string, readonly unknown[]>> = {
  ...Object.fromEntries(
    ["num_beams", "num_beam_groups", "typical_p", "encoder_repetition_penalty", "guidance_scale"].map((key) => [key, [1]]),
  ),
  ...Object.fromEntries(
    [
      ..."no_repeat_ngram_size encoder_no_repeat_ngram_size min_length min_new_tokens epsilon_cutoff eta_cutoff penalty_alpha".split(" "),
      ..."bad_words_ids force_words_ids suppress_tokens begin_suppress_tokens forced_bos_token_id forced_eos_token_id".split(" "),
      ..."sequence_bias exponential_decay_length_penalty".split(" "),
    ].map((key) => [key, [0]]),
  ),
};

/** Warnings about defaults of the checkpoint that generation ignores. */
export function unheededDefaults({ generationConfig }: Pick<Checkpoint, "generationConfig">): string[] {
  return Object.entries(UNHEEDED).flatMap(([key, idle]) => {
    const value = generationConfig?.[key];
    const isIdle =
      value === undefined || value === null || idle.includes(value) || (typeof value === "object" && Object.keys(value).length === 0);
    return isIdle ? [] : [`generation_config.json sets ${key} to ${JSON.stringify(value)}, which is not supported and is ignored.`];
  });
}

/** The caller's options, then the checkpoint's defaults, then ours. If the checkpoint has no eos id, the tokenizer's eosId is used. */
export function generationSettings(
  options: GenerationOptions,
  checkpoint: Pick<Checkpoint, "config" | "generationConfig" | "directory">,
  { eosId }: { readonly eosId?: number } = {},
): GenerationSettings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const result = generationSchema.safeParse({
    ...(eosId !== undefined && { eosIds: [eosId] }),
    ...checkpointDefaults(checkpoint),
    ...given,
  });
  if (result.success) return result.data;
  throw new OptionError({
    code: "option-invalid",
    what: z.prettifyError(result.error),
    where: "generation options",
    fix: `Options are ${Object.keys(generationSchema.shape).join(", ")}.`,
  });
}

/** Settings that also end at these tokens, except where the caller set the end tokens. */
export function withTurnEnds(settings: GenerationSettings, { eosIds }: GenerationOptions, turnEnds: readonly number[]): GenerationSettings {
  return eosIds === undefined ? { ...settings, eosIds: [...new Set([...settings.eosIds, ...turnEnds])] } : settings;
}

function checkpointDefaults({ config, generationConfig, directory }: Pick<Checkpoint, "config" | "generationConfig" | "directory">) {
  // Older checkpoints keep these in config.json.
  const parsed = fileSchema.safeParse(generationConfig ?? config);
  if (!parsed.success) {
    throw new CheckpointError({
      code: "checkpoint-bad-config",
      what: `The model's defaults for generation cannot be read: ${z.prettifyError(parsed.error)}.`,
      where: `${directory}/${generationConfig ? "generation_config.json" : "config.json"}`,
      fix: "Correct the file, or remove the field.",
    });
  }
  const file = parsed.data;
  const eos = file.eos_token_id ?? config.eos_token_id;
  const { temperature, top_k: topK = TRANSFORMERS_TOP_K, top_p: topP, min_p: minP } = file;
  const sampling = file.do_sample ? { temperature: temperature ?? 1, topK, topP, minP } : {};
  const defaults = {
    ...sampling,
    repetitionPenalty: file.repetition_penalty,
    maxNewTokens: file.max_new_tokens,
    stop: file.stop_strings,
    eosIds: eos === undefined || eos === null ? undefined : [eos].flat(),
  };
  return Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined && value !== null));
}
