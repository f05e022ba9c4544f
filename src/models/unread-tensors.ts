/** @file Checks every tensor of a checkpoint: the architecture reads it, it is known to change nothing, or a warning or an error names it. */

import { CheckpointError } from "../base/errors.ts";
import { elements, type HostTensor } from "../base/tensor.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { packedWeights } from "../checkpoint/packed-layout.ts";
import type { TensorInfo } from "../checkpoint/safetensors-header.ts";
import type { Architecture } from "./architecture.ts";
import { tracedTensors } from "./logits.ts";

/** Access to the numbers of a checkpoint. */
export interface Reads {
  readonly readTensor: (info: TensorInfo) => Promise<HostTensor>;
  readonly haveSameBytes: (one: TensorInfo, other: TensorInfo) => Promise<boolean>;
}

type Verdict = { readonly warning: string } | { readonly refusal: string; readonly fix: string } | undefined;

/** Masks and tables that old files hold although the model computes them; a table of T5 1.0 that no layer uses. */
const BUFFERS =
  /(?:rotary_emb\.(?:inv_freq|cos_cached|sin_cached)|attn\.masked_bias|position_ids|EncDecAttention\.relative_attention_bias\.weight)$/;
const SIDE_HEADS = /(?:^|\.)(?:v_head|value_head|medusa\w*|eagle\w*|mtp\w*)\./;
const OTHER_PARTS = /(?:^|\.)(?:vision\w*|visual|image\w*|audio\w*|speech\w*|multi_modal_projector|mm_projector)\./;
const CLASSIFIERS = /(?:^|\.)(?:score|classifier|classification_head|qa_outputs|qa_classifier|regression_head|reward_head|rm_head)\./;
const ADAPTERS = /\.(?:lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)|base_layer|ia3_l)\b/;
const EMBEDDINGS = /(?:^|\.)(?:lm_head|embed_tokens|shared|wte)\.weight$/;

/** Warnings about tensors that are not read. Throws a CheckpointError if one may change the result. */
export async function unreadTensorNotes(checkpoint: Checkpoint, architecture: Architecture, reads: Reads): Promise<string[]> {
  const { config, tensors, directory } = checkpoint;
  const read = new Set([...tracedTensors(architecture).keys(), ...(packedWeights(config, tensors)?.parts ?? [])]);
  const refused: { name: string; refusal: string; fix: string }[] = [];
  const warned = new Map<string, string[]>();
  refuseEmpty(tensors, directory);
  for (const info of tensors.values()) {
    if (read.has(info.name)) continue;
    const verdict = await judged(info, { tensors, read, ...reads });
    if (!verdict) continue;
    if ("refusal" in verdict) refused.push({ name: info.name, ...verdict });
    else warned.set(verdict.warning, [...(warned.get(verdict.warning) ?? []), info.name]);
  }
  const [first] = refused;
  if (first) {
    const more = refused.length > 1 ? ` (and ${refused.length - 1} more that are not read)` : "";
    throw new CheckpointError({
      code: "checkpoint-tensor-unread",
      data: { tensor: first.name },
      what: `Tensor ${first.name}${more} ${first.refusal}.`,
      where: directory,
      fix: first.fix,
    });
  }
  return [...warned].map(([warning, [one, ...others]]) => `${one}${others.length > 0 ? ` and ${others.length} more` : ""}: ${warning}`);
}

interface Around extends Reads {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The tensors that the architecture reads. */
  readonly read: ReadonlySet<string>;
}

async function judged(info: TensorInfo, around: Around): Promise<Verdict> {
  const { name, shape } = info;
  const { read } = around;
  if (BUFFERS.test(name) || (/attn\.bias$/.test(name) && shape.length === 4)) return undefined;
  if (SIDE_HEADS.test(name)) return { warning: "a head beside the language model's, not used." };
  if (OTHER_PARTS.test(name)) return { warning: "a part for images or sound, not used: only the language model is." };
  if (CLASSIFIERS.test(name))
    return { refusal: "is the head of a classifier, not of a language model", fix: "Use the language model that it was made from." };
  if (ADAPTERS.test(name))
    return {
      refusal: "belongs to an adapter that was saved inside its base",
      fix: "Merge it (PEFT: merge_and_unload) and save the model again, or take the base and the adapter apart.",
    };
  if (EMBEDDINGS.test(name)) return twinOfEmbeddings(info, around);
  const inFirst = name.replace(/\.\d+\./, ".0.");
  if (inFirst !== name && read.has(inFirst))
    return { refusal: "is of a layer beyond those that config.json counts", fix: "Fetch configuration and tensors from one place." };
  if (name.endsWith(".bias")) return bias(info, around);
  return {
    refusal: "is none that this architecture reads",
    fix: "config.json may have another model_type or settings than the model was trained with: fetch both from one place. A tensor that has no effect can be taken out.",
  };
}

/** A head under tied embeddings, or another copy of the embeddings. It must equal the embeddings. */
async function twinOfEmbeddings(info: TensorInfo, { tensors, read, haveSameBytes }: Around): Promise<Verdict> {
  const table = [...tensors.values()].find(
    ({ name, shape }) => read.has(name) && EMBEDDINGS.test(name) && String(shape) === String(info.shape),
  );
  if (table && (await haveSameBytes(info, table))) return undefined;
  const what = table ? `differs from ${table.name}, which config.json puts in its place (tie_word_embeddings)` : "is not read";
  return {
    refusal: what,
    fix: 'If the model was trained with a head of its own, write "tie_word_embeddings": false in config.json; else take the tensor out.',
  };
}

async function bias(info: TensorInfo, { readTensor }: Reads): Promise<Verdict> {
  const { data } = elements(info.shape) <= 2 ** 20 ? await readTensor(info) : { data: [1] };
  if (Array.from<number | bigint, number>(data as ArrayLike<number | bigint>, Number).every((value) => value === 0)) return undefined;
  return {
    refusal: "is a bias that config.json does not speak of",
    fix: "Mend config.json (attention_bias, mlp_bias, or the model_type), so that it says what the model was trained with.",
  };
}

/** Refuses empty tensors: DeepSpeed's ZeRO-3 saves a tensor without numbers if it was not gathered. */
function refuseEmpty(tensors: ReadonlyMap<string, TensorInfo>, where: string): void {
  const empty = [...tensors.values()].filter(({ bytes }) => bytes === 0);
  const [first] = empty;
  if (!first) return;
  throw new CheckpointError({
    code: "checkpoint-empty-tensors",
    data: { tensor: first.name },
    what: `${empty.length} of the ${tensors.size} tensors are empty, ${first.name} [${first.shape.join(", ")}] among them: the model was saved under DeepSpeed's ZeRO-3 without gathering its weights.`,
    where,
    fix: "Save it again with the weights gathered (stage3_gather_16bit_weights_on_model_save), or run zero_to_fp32.py on the training run's checkpoint.",
  });
}
