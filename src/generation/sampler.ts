/** @file Chooses the next token from logits.
 *
 *      l' = penalized and biased l                 repetition (Keskar et al. 2019), frequency, presence, bias
 *      temperature 0:  argmax l'
 *      otherwise:      p = softmax(l' / temperature), cut to the top-k, then to the smallest set of mass top-p
 *                      (Holtzman et al. 2020), then to p >= minP max p (Nguyen et al. 2024), and drawn from
 *
 *  Ties go to the lower id. Log-probabilities come from the model's own l; sampling options do not change them. */

import { CheckpointError, invariant } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { Candidates, Logits } from "./candidates.ts";
import type { GenerationSettings } from "./options.ts";

/** A token that could have been chosen, and its log-probability (natural logarithm). */
export interface Alternative {
  readonly id: number;
  readonly logprob: number;
}
/** A token that was chosen, with its log-probability (natural logarithm) on request. */
export interface Choice {
  readonly id: number;
  /** Natural logarithm of the token's probability; absent unless requested. */
  readonly logprob?: number;
  /** The most likely tokens, best first. The chosen token may be missing from them. */
  readonly topLogprobs?: readonly Alternative[];
}

/** A constraint on the next token by the tokens so far, for example a grammar. */
export interface Constraint {
  /** Sets the logits of tokens that may not come next to -Infinity, in place. */
  restrict(logits: Float32Array): void;
  /** Advances the constraint by one token. */
  take(id: number): void;
}

export type SamplerSettings = Pick<
  GenerationSettings,
  "temperature" | "topK" | "topP" | "minP" | "repetitionPenalty" | "frequencyPenalty" | "presencePenalty" | "logitBias" | "logprobs"
>;

/** Samples one completion. It counts the generated tokens for the penalties. */
export class Sampler {
  readonly #settings: SamplerSettings;
  readonly #random: Random;
  readonly #context: Set<number>;
  readonly #generated = new Map<number, number>();
  readonly #bias: readonly (readonly [number, number])[];
  readonly #constraint: Constraint | undefined;

  /** `context`: the tokens in the decoder's context, for the repetition penalty. */
  constructor(settings: SamplerSettings, random: Random, context: readonly number[] = [], constraint?: Constraint) {
    this.#constraint = constraint;
    this.#settings = settings;
    this.#random = random;
    this.#context = new Set(context);
    this.#bias = Object.entries(settings.logitBias).map(([id, bias]) => [Number(id), bias]);
  }

  /** How many of the best logits are enough for the choice; undefined if it needs all of them. */
  get candidates(): number | undefined {
    const { temperature, topK, logprobs } = this.#settings;
    if (logprobs !== undefined || !this.#isPlain) return undefined;
    return temperature === 0 ? 1 : topK || undefined;
  }

  /** logits: [vocabulary], or at least as many candidates as the choice needs; not changed. */
  next(logits: Logits): Choice {
    const { logprobs } = this.#settings;
    const id = "ids" in logits ? this.#among(logits) : this.#chosen(this.#adjusted(logits));
    this.#constraint?.take(id);
    this.#context.add(id);
    this.#generated.set(id, (this.#generated.get(id) ?? 0) + 1);
    return logprobs === undefined || "ids" in logits ? { id } : { id, ...logprobsOf(logits, id, logprobs) };
  }

  /** The candidates are in the order in which a choice looks at tokens, so it is the one that it would be among all. */
  #among({ ids, logits }: Candidates): number {
    const needed = this.candidates;
    invariant(needed !== undefined && needed <= ids.length, `${ids.length} candidates do not decide the choice`);
    return ids[this.#chosen(logits.subarray(0, needed))]!;
  }

  #chosen(logits: Float32Array): number {
    return this.#settings.temperature === 0 ? argmax(logits) : this.#sampled(logits);
  }

  /** Whether the model's own logits decide. */
  get #isPlain(): boolean {
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = this.#settings;
    const hasPenalties = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
    return !hasPenalties && this.#bias.length === 0 && !this.#constraint;
  }

  #adjusted(logits: Float32Array): Float32Array {
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = this.#settings;
    if (this.#isPlain) return logits;
    const adjusted = logits.slice();
    if (repetitionPenalty !== 1) {
      for (const id of this.#context) adjusted[id]! *= adjusted[id]! < 0 ? repetitionPenalty : 1 / repetitionPenalty;
    }
    for (const [id, count] of this.#generated) adjusted[id]! -= count * frequencyPenalty + presencePenalty;
    for (const [id, bias] of this.#bias) adjusted[id]! += bias;
    this.#constraint?.restrict(adjusted);
    return adjusted;
  }

  #sampled(logits: Float32Array): number {
    const { temperature, topK, topP, minP } = this.#settings;
    const best = logits[argmax(logits)]!;
    const weight = (id: number) => Math.exp((logits[id]! - best) / temperature);
    const ids = cut(logits, weight, topK, topP);
    const weights = new Float64Array(ids.length);
    let total = 0;
    for (let i = 0; i < ids.length; i++) {
      const own = weight(ids[i]!);
      if (own >= minP) total += weights[i] = own;
    }
    let left = this.#random.next() * total;
    for (let i = 0; i < ids.length; i++) {
      left -= weights[i]!;
      if (left < 0) return ids[i]!;
    }
    return argmax(logits); // rounding can leave a little probability after the last token
  }
}

/** The ids that remain after top-k and then top-p; best first if either removes some. */
function cut(logits: Float32Array, weight: (id: number) => number, topK: number, topP: number): Uint32Array {
  const cutsK = topK > 0 && topK < logits.length;
  if (!cutsK && topP === 1) return everyId(logits);
  if (topP === 1) return largest(logits, topK);
  const total = (ids: Uint32Array) => ids.reduce((sum, id) => sum + weight(id), 0);
  if (cutsK) {
    const ids = largest(logits, topK);
    return prefixOfMass(ids, weight, topP * total(ids)) ?? ids;
  }
  const mass = topP * total(everyId(logits));
  for (let k = 64; k < logits.length; k *= 8) {
    const prefix = prefixOfMass(largest(logits, k), weight, mass);
    if (prefix) return prefix;
  }
  const ids = largest(logits, logits.length);
  return prefixOfMass(ids, weight, mass) ?? ids;
}

/** The shortest prefix whose weights reach `mass`; undefined when all of them do not. */
function prefixOfMass(ids: Uint32Array, weight: (id: number) => number, mass: number): Uint32Array | undefined {
  let sum = 0;
  const end = ids.findIndex((id) => {
    sum += weight(id);
    return sum >= mass;
  });
  return end < 0 ? undefined : ids.subarray(0, end + 1);
}

const SORT_ABOVE = 1024; // insertion into a sorted list is faster below

/** Indices of the k largest values, largest first. */
export function largest(values: Float32Array, k: number): Uint32Array {
  if (k > SORT_ABOVE) {
    return everyId(values)
      .sort((a, b) => values[b]! - values[a]! || a - b)
      .subarray(0, k);
  }
  const ids = new Uint32Array(Math.min(k, values.length));
  let filled = 0;
  for (let id = 0; id < values.length && k > 0; id++) {
    if (filled === ids.length && !(values[id]! > values[ids[filled - 1]!]!)) continue;
    let at = filled < ids.length ? filled++ : filled - 1;
    for (; at > 0 && values[ids[at - 1]!]! < values[id]!; at--) ids[at] = ids[at - 1]!;
    ids[at] = id;
  }
  return ids;
}

function everyId({ length }: Float32Array): Uint32Array {
  const ids = new Uint32Array(length);
  for (let id = 0; id < length; id++) ids[id] = id;
  return ids;
}

function argmax(values: Float32Array): number {
  let best = -1;
  let most = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < values.length; id++) {
    if (values[id]! > most) {
      most = values[id]!;
      best = id;
    }
  }
  if (best < 0) {
    throw new CheckpointError({
      code: "checkpoint-not-finite",
      what: "The model's logits are not numbers.",
      fix: "The checkpoint or an adapter holds NaN or infinite weights: check them, or train again with a lower learning rate.",
    });
  }
  return best;
}

function logprobsOf(logits: Float32Array, id: number, alternatives: number) {
  const best = logits[argmax(logits)]!;
  const total = best + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - best), 0));
  const topLogprobs = Array.from(largest(logits, alternatives), (other) => ({ id: other, logprob: logits[other]! - total }));
  return { logprob: logits[id]! - total, ...(alternatives > 0 && { topLogprobs }) };
}
