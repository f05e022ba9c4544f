/** @file How much of a text a model is given, as lm-evaluation-harness finds it.
 *
 *  A decoder-only model's length is what its configuration says: positions beyond are ones it never saw. T5's relative
 *  positions end nowhere, so with an encoder nothing is cut unless somebody says where. */

import type { Model } from "../../inference/model.ts";

const NAMES = ["n_positions", "max_position_embeddings", "n_ctx"];

/** Tokens that a model takes at most; undefined where there is no limit. */
export function longestSequence({ base: { architecture, checkpoint } }: Model): number | undefined {
  if (architecture.kind === "encoder-decoder") return undefined;
  const named = NAMES.map((name) => checkpoint.config[name]);
  return architecture.maxPositions ?? named.find((value): value is number => typeof value === "number" && value > 0);
}

/** Tokens of a prompt that leave room for `maxTokens` new ones, and never less than half of what the model takes. */
export function longestPrompt(model: Model, maxTokens: number, maxLength = longestSequence(model)): number | undefined {
  if (maxLength === undefined || model.base.architecture.kind === "encoder-decoder") return maxLength;
  return Math.max(maxLength - maxTokens, Math.ceil(maxLength / 2));
}
