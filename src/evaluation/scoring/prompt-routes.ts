/** @file The routes of one text's prompt, for comparisons of experts. */

import { padded } from "../../base/tensor.ts";
import type { Model } from "../../inference/model.ts";
import type { HostRoute } from "../../inference/runner.ts";
import { promptIds } from "../../text/prompt-ids.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

/** The route of every token of `text`, by module. In an encoder-decoder model, the decoder reads its start token alone. */
export async function promptRoutes(model: Model, tokenizer: Tokenizer, text: string): Promise<ReadonlyMap<string, HostRoute>> {
  const { architecture } = model.base;
  const { ids, mask } = padded([promptIds(tokenizer, architecture.kind, text)]);
  const start = architecture.kind === "encoder-decoder" ? { decoderInputIds: padded([[architecture.decoderStartId]]).ids } : {};
  const { routes } = await model.runner.forward(model.woven, { inputIds: ids, attentionMask: mask, ...start }, { routes: true });
  return routes ?? new Map();
}
