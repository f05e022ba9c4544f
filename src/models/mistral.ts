/** @file Mistral (Jiang et al. 2023, arXiv:2310.06825; reference: transformers, models/mistral): Llama with a sliding
 *  window, if the configuration gives one. */

import * as z from "zod";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderFields } from "./decoder.ts";
import { llamaLike } from "./llama.ts";

const schema = z.object({
  ...decoderFields,
  num_key_value_heads: z.int().nullish().default(8),
  max_position_embeddings: z.int().default(131072),
  // Files of the first release leave the field out; null means no window.
  sliding_window: z.int().nullish().default(4096),
});

export const mistral: ArchitectureFactory = reading(configKeys(schema), (raw) => {
  const config = parseConfig(schema, raw);
  return llamaLike(config, { window: () => config.sliding_window ?? undefined });
});
