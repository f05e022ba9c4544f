/** @file The names of each supported architecture's modules, without a checkpoint. They are compared with an adapter whose base model is
 *  not available. The names are those of one layer, without its number. */

import { tracedModules } from "./logits.ts";
import { architectureOf, MODEL_TYPES } from "./registry.ts";

const [LAYERS, HEADS, SIZE] = [1, 2, 8];
/** A configuration of a tiny model, with the size fields of every architecture. */
const SMALLEST = {
  ...{ num_hidden_layers: LAYERS, num_layers: LAYERS, n_layer: LAYERS },
  ...{ num_attention_heads: HEADS, num_key_value_heads: HEADS, num_heads: HEADS, n_head: HEADS },
  ...{ vocab_size: SIZE, hidden_size: SIZE, intermediate_size: SIZE, head_dim: SIZE / HEADS },
  ...{ d_model: SIZE, d_kv: SIZE / HEADS, d_ff: SIZE, n_embd: SIZE, ffn_hidden_size: SIZE, seq_length: SIZE },
};
/** Settings that change names: the form of T5's feed-forward layer, and the prefix of Gemma 3 with a vision tower. */
const FORMS = [
  { config: {} },
  { config: { feed_forward_proj: "gated-gelu" } },
  { config: {}, tensor: "model.language_model.embed_tokens.weight" },
];

/** The model types that have modules with all these names. Prefixes may differ. */
export function modelTypesWith(modules: readonly string[]): string[] {
  const wanted = [...new Set(modules.map(inFirstLayer))];
  return MODEL_TYPES.filter((type) => {
    const held = moduleNames(type);
    return wanted.every((name) => held.some((own) => `.${own}`.endsWith(`.${name}`) || `.${name}`.endsWith(`.${own}`)));
  });
}

/** The modules of a model with one layer: "model.layers.0.mlp.up_proj" and so on. */
export function moduleNames(type: string): readonly string[] {
  const traced = FORMS.flatMap(({ config, tensor }) => {
    const tensors = new Map(tensor === undefined ? [] : [[tensor, undefined]]);
    const smallest = { model_type: type, ...SMALLEST, ...config };
    return [...tracedModules(architectureOf({ config: smallest, tensors, directory: type })).keys()];
  });
  return [...new Set(traced)];
}

/** A name with its layer number, the first number in it, replaced by 0. */
function inFirstLayer(name: string): string {
  return name.replace(/\.\d+\./, ".0.");
}
