/** @file The options of generation among a request's fields. */

import type { GenerationRequest, Routing } from "../backend.ts";
import { badField } from "../problem.ts";

interface Fields {
  readonly temperature?: number | undefined;
  readonly top_p?: number | undefined;
  readonly top_k?: number | undefined;
  readonly min_p?: number | undefined;
  readonly frequency_penalty?: number | undefined;
  readonly presence_penalty?: number | undefined;
  readonly repetition_penalty?: number | undefined;
  readonly logit_bias?: Readonly<Record<string, number>> | undefined;
  readonly seed?: number | undefined;
  readonly stop?: string | readonly string[] | undefined;
  readonly stop_token_ids?: readonly number[] | undefined;
  readonly ignore_eos?: boolean | undefined;
  readonly n?: number | undefined;
}

export function samplingOf(fields: Fields): GenerationRequest["options"] {
  const { stop, top_k: topK } = fields;
  const stops = stop === undefined ? undefined : [stop].flat();
  if (stops?.includes("")) throw badField("stop", "A text that ends an answer cannot be empty.");
  const options = {
    temperature: fields.temperature,
    topP: fields.top_p,
    topK: topK === undefined ? undefined : Math.max(0, topK),
    minP: fields.min_p,
    frequencyPenalty: fields.frequency_penalty,
    presencePenalty: fields.presence_penalty,
    repetitionPenalty: fields.repetition_penalty,
    logitBias: fields.logit_bias && { ...fields.logit_bias },
    seed: fields.seed,
    stop: stops && stops.length > 0 ? stops : undefined,
    stopIds: fields.stop_token_ids && [...fields.stop_token_ids],
    ignoreEos: fields.ignore_eos,
    n: fields.n,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** The number of tokens asked for, which no more than `most` may be. */
export function tokensAsked(asked: number | undefined, most: number, field: string): number | undefined {
  if (asked !== undefined && asked > most) throw badField(field, `This server generates ${most} tokens for one completion at most.`);
  return asked;
}

/** Undefined where it asks for nothing. */
export function routingOf(routing: Routing | undefined): Routing | undefined {
  return routing && Object.keys(routing).length > 0 ? routing : undefined;
}
