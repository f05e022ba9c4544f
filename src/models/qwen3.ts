/** @file Qwen 3, the dense models (Yang et al. 2025, arXiv:2505.09388; reference: transformers, models/qwen3): Llama with
 *  an RMSNorm on each head of q and k, a head size independent of the width, and Qwen 2's windows. */

import * as z from "zod";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { llamaLike } from "./llama.ts";
import { qwenFields, windowOf } from "./qwen2.ts";

const schema = z.object({
  ...qwenFields,
  head_dim: z.int().default(128),
  attention_bias: z.boolean().default(false),
});

export const qwen3: ArchitectureFactory = reading(configKeys(schema), (raw) => {
  const config = parseConfig(schema, raw);
  const biases = { inward: config.attention_bias, outward: config.attention_bias };
  return llamaLike(config, { biases, window: windowOf(config), headNorms: true });
});
