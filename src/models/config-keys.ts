/** @file Checks every key of config.json. A key is of one of four kinds: the architecture reads it; it has no effect on what the model
 *  computes; its value must equal what the architecture computes; or it is unknown, and a warning names it.
 *
 *  An unknown key is refused if it is on and its name stands for a computation (a scale, a window, a cap, a bias). */

import { CheckpointError } from "../base/errors.ts";
import type { Architecture } from "./architecture.ts";

type Config = Readonly<Record<string, unknown>>;
/** The values that change nothing, in addition to those that mean "not used"; or a test for such values. */
type Allowed = readonly unknown[] | ((value: unknown, config: Config) => boolean);

export interface ConfigKeys {
  /** Keys that the architecture's schema has. */
  readonly read: ReadonlySet<string>;
  /** Keys of this architecture that have no effect here. */
  readonly idle: ReadonlySet<string>;
  /** Keys whose value must equal what it computes; they take precedence over the other two. */
  readonly fixed: Readonly<Record<string, Allowed>>;
  /** The field that holds the language model's configuration, in a file with several. */
  readonly nested?: string;
}

/** Builds an architecture and lists the keys of config.json that it handles. */
export type ArchitectureFactory = ((config: Config, tensorNames: ReadonlySet<string>) => Architecture) & { readonly keys: ConfigKeys };

export function reading(keys: ConfigKeys, build: (config: Config, tensorNames: ReadonlySet<string>) => Architecture): ArchitectureFactory {
  return Object.assign(build, { keys });
}

interface OwnKeys extends Partial<Pick<ConfigKeys, "fixed" | "nested">> {
  /** Separated by spaces. */
  readonly idle?: string;
}

/** The keys of a schema, and the other known keys of an architecture. */
export function configKeys({ shape }: { readonly shape: object }, { idle = "", fixed = {}, nested }: OwnKeys = {}): ConfigKeys {
  return { read: new Set(Object.keys(shape)), idle: new Set(idle.split(" ")), fixed, ...(nested && { nested }) };
}

/** Keys without effect on what a trained model computes: names and ids, training, generation, files, precision, kernels. */
const IDLE = new Set(
  [
    "architectures model_type _name_or_path name_or_path transformers_version torch_dtype dtype auto_map tokenizer_class finetuned_from license",
    "bos_token_id eos_token_id pad_token_id sep_token_id unk_token_id mask_token_id cls_token_id decoder_start_token_id is_encoder_decoder is_decoder",
    "use_cache cache_implementation output_attentions output_hidden_states output_past return_dict torchscript use_bfloat16 gradient_checkpointing",
    "attn_implementation _attn_implementation _attn_implementation_autoset use_flash_attn use_flash_attention use_flash_attention_2 flash_attn",
    "_flash_attn_2_enabled use_memory_efficient_attention use_xformers use_sdpa chunk_size_feed_forward pretraining_tp tensor_parallel_degree",
    "initializer_range initializer_factor init_std init_method attention_dropout attn_dropout attn_pdrop embd_pdrop resid_pdrop hidden_dropout",
    "dropout dropout_rate embedding_dropout classifier_dropout hidden_dropout_prob attention_probs_dropout_prob summary_activation",
    "summary_first_dropout summary_proj_to_labels summary_type summary_use_proj id2label label2id num_labels problem_type finetuning_task",
    "task_specific_params max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p",
    "repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores",
    "return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens",
    "begin_suppress_tokens prefix n_ctx n_positions max_sequence_length max_seq_len model_max_length seq_length unsloth_version unsloth_fixed",
    "quantization_config cross_attention_hidden_size router_aux_loss_coef output_router_logits",
  ].flatMap((line) => line.split(" ")),
);

const allFull: Allowed = (value) => Array.isArray(value) && value.every((type) => type === "full_attention");

/** Keys of computations that only some architectures have, with the values that change nothing. */
const COMPUTING: Readonly<Record<string, Allowed>> = {
  ...neutral(
    [1],
    "embedding_multiplier residual_multiplier logits_scaling logit_scale scale_emb embedding_scale embed_scale lm_head_multiplier",
  ),
  ...neutral(
    [1],
    "attn_scale attention_scale partial_rotary_factor rotary_pct rotary_percentage rope_scaling_factor interpolate_factor full_attn_mod",
  ),
  ...neutral([0, 1], "num_experts num_local_experts n_routed_experts n_shared_experts num_experts_per_tok moe_num_experts moe_topk"),
  ...neutral([], "attention_multiplier scale_depth dim_model_base query_pre_attn_scalar attn_logit_softcapping final_logit_softcapping"),
  ...neutral(
    [],
    "sliding_window use_sliding_window sliding_window_pattern attention_chunk_size attention_window clip_qkv no_rope_layers alibi use_alibi",
  ),
  ...neutral(
    [],
    "qk_layernorm use_qk_norm qk_norm parallel_attn parallel_residual use_parallel_residual multi_query new_decoder_architecture",
  ),
  ...neutral([], "use_bias bias attention_bias attention_out_bias mlp_bias qkv_bias lm_head_bias head_bias use_qkv_bias pruned_heads"),
  ...neutral(
    [],
    "add_cross_attention tie_encoder_decoder use_bidirectional_attention rope_interleaved rope_interleave use_mrope rotary_dim",
  ),
  ...neutral([], "apply_residual_connection_post_layernorm hidden_act hidden_activation activation_function num_key_value_heads head_dim"),
  ...neutral([], "rope_scaling rope_parameters rope_theta attn_temperature_tuning moe_intermediate_size"),
  is_causal: [true],
  layer_types: allFull,
  position_embedding_type: ["absolute", "rope", "rotary"],
  norm_type: ["rms_norm", "rmsnorm"],
};

/** Endings of names that stand for a computation. */
const SUSPECT = /_(?:multiplier|scale|scaling|softcap|softcapping|window|bias|norm|factor|act|activation)$/;

function neutral(values: readonly unknown[], keys: string): Record<string, Allowed> {
  return Object.fromEntries(keys.split(" ").map((key) => [key, values]));
}

/** Heads other than a language model's. */
const OTHER_HEADS =
  /For(?:SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|\w*Reward\w*|NextSentencePrediction)$/;

/** Warnings about a configuration. Throws a CheckpointError that names every refused key. */
export function configNotes(config: Config, keys: ConfigKeys, where: string): string[] {
  const inner = keys.nested === undefined ? undefined : config[keys.nested];
  const isNested = typeof inner === "object" && inner !== null;
  const own = isNested ? (inner as Config) : config;
  const [refused, unknown] = [[] as string[], [] as string[]];
  for (const [key, value] of Object.entries(own)) {
    const fixed = Object.hasOwn(keys.fixed, key) ? keys.fixed[key] : undefined;
    if (fixed ? isAllowed(value, fixed, own) : keys.read.has(key) || keys.idle.has(key) || IDLE.has(key)) continue;
    const computing = fixed ?? (Object.hasOwn(COMPUTING, key) ? COMPUTING[key] : SUSPECT.test(key) ? [1] : undefined);
    if (!computing) unknown.push(key);
    else if (!isAllowed(value, computing, own)) refused.push(`${key} is ${JSON.stringify(value)?.slice(0, 100)}`);
  }
  if (isNested) unknown.push(...Object.keys(config).filter((key) => key !== keys.nested && !keys.idle.has(key) && !IDLE.has(key)));
  if (refused.length > 0) throw refusal(config, refused, where);
  refuseOtherHead(config, where);
  if (unknown.length === 0) return [];
  return [`config.json has keys that are unknown here and have no effect: ${unknown.join(", ")}.`];
}

/** null, false, "", [] and {} mean "not used". */
function isAllowed(value: unknown, allowed: Allowed, config: Config): boolean {
  if (typeof allowed === "function") return value === null || value === undefined || allowed(value, config);
  if (value === null || value === undefined || value === false || value === "") return true;
  if (typeof value === "object") return Object.keys(value).length === 0;
  return allowed.includes(value);
}

function refusal({ model_type: type }: Config, refused: readonly string[], where: string): CheckpointError {
  return new CheckpointError({
    code: "checkpoint-setting",
    data: { got: refused.join(", "), known: [] },
    what: `config.json asks for what models of type "${String(type)}" do not compute here: ${refused.join("; ")}.`,
    where,
    fix: "Use the model under its own model_type, if that is another one; take a key out of config.json only if the model was trained without what it asks for.",
  });
}

function refuseOtherHead({ architectures }: Config, where: string): void {
  const head = Array.isArray(architectures) ? architectures.find((name) => typeof name === "string" && OTHER_HEADS.test(name)) : undefined;
  if (head === undefined) return;
  throw new CheckpointError({
    code: "checkpoint-setting",
    data: { got: head, known: [] },
    what: `The checkpoint is a ${head}: it ends in another head than a language model's.`,
    where,
    fix: "Use the language model that it was made from.",
  });
}
