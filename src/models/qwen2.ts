/** @file Qwen 2 and 2.5 (Yang et al. 2024, arXiv:2407.10671, arXiv:2412.15115; reference: transformers, models/qwen2):
 *  Llama with biases on q, k and v, and a sliding window in the upper layers where the configuration turns it on. */

import * as z from "zod";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderFields, layerTypes } from "./decoder.ts";
import { llamaLike } from "./llama.ts";

/** The fields of Qwen 2 and 3, including those that choose the layers with a sliding window. */
export const qwenFields = {
  ...decoderFields,
  num_key_value_heads: z.int().nullish().default(32),
  max_position_embeddings: z.int().default(32768),
  use_sliding_window: z.boolean().default(false),
  sliding_window: z.int().nullish().default(4096),
  max_window_layers: z.int().default(28),
  layer_types: layerTypes,
};

const schema = z.object(qwenFields);

export const qwen2: ArchitectureFactory = reading(configKeys(schema), (raw) => {
  const config = parseConfig(schema, raw);
  return llamaLike(config, { biases: { inward: true }, window: windowOf(config) });
});

/** The window of layer i: from layer `max_window_layers` on, or where `layer_types` says so. */
export function windowOf(config: z.infer<typeof schema>): (i: number) => number | undefined {
  const { use_sliding_window: used, sliding_window: window, max_window_layers: first, layer_types: types } = config;
  if (!used || window == null) return () => undefined;
  return (i) => ((types ? types[i] === "sliding_attention" : i >= first) ? window : undefined);
}
