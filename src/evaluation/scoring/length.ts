/** @file The longest text that a model gets, by the rule of lm-evaluation-harness.
 *
 *  A decoder-only model's length is in its configuration; it was not trained on later positions. T5's relative positions have no
 *  limit, so for an encoder-decoder model nothing is cut unless a length is given. */

import type { Model } from "../../inference/model.ts";

const NAMES = ["n_positions", "max_position_embeddings", "n_ctx"];

/** The largest number of tokens for a model; undefined if there is no limit. */
export function longestSequence({ base: { architecture, checkpoint } }: Model): number | undefined {
  if (architecture.kind === "encoder-decoder") return undefined;
  const named = NAMES.map((name) => checkpoint.config[name]);
  return architecture.maxPositions ?? named.find((value): value is number => typeof value === "number" && value > 0);
}

/** The number of prompt tokens that leaves room for `maxTokens` new ones; at least half of the model's length. */
export function longestPrompt(model: Model, maxTokens: number, maxLength = longestSequence(model)): number | undefined {
  if (maxLength === undefined || model.base.architecture.kind === "encoder-decoder") return maxLength;
  return Math.max(maxLength - maxTokens, Math.ceil(maxLength / 2));
}
