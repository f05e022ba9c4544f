/** @file The tensors of an adapter_model.safetensors, sorted by module and role (reference: peft, utils/save_and_load.py).
 *
 *    base_model.model.<module>.lora_A.weight [rank, in]   .lora_B.weight [out, rank]   .lora_B.bias [out]
 *    base_model.model.<module>.lora_embedding_A [rank, vocabulary]   .lora_embedding_B [width, rank]
 *    base_model.model.<module>.ia3_l  [out, 1], or [1, in] on feed-forward modules
 *
 *  With adapters on embeddings or heads, PEFT also saves the base's own weights: `<module>.base_layer.weight` for an adapted module,
 *  `<module>.weight` for any other (save_embedding_layers). The first must have the base's shape, the second must equal the base's.
 *
 *  Names may also repeat the prefix, contain `_orig_mod` (compiled models), or contain the adapter's name (`lora_A.default.weight`). */

import { AdapterError } from "../base/errors.ts";
import type { TensorInfo } from "../checkpoint/safetensors-header.ts";

export type Role = "a" | "b" | "bias" | "scale";

/** The tensors of one module, by role. */
export type ModuleTensors = Readonly<Partial<Record<Role, TensorInfo>>>;

export interface SortedTensors {
  /** Keyed by the adapter's own module path. */
  readonly modules: ReadonlyMap<string, ModuleTensors>;
  /** The base's weights of adapted modules, saved with the adapter: the module's path -> its tensor. */
  readonly frozen: ReadonlyMap<string, TensorInfo>;
  /** Whole embeddings or heads, by path. They must equal the base's. */
  readonly whole: ReadonlyMap<string, TensorInfo>;
}

/** Whether the tensor is of the form that adapts embeddings. */
export const isEmbeddingTensor = ({ name }: TensorInfo): boolean => name.includes(".lora_embedding_");

const ROLES: readonly { readonly role: Role; readonly pattern: RegExp }[] = [
  { role: "a", pattern: /^(.+)\.lora_A(?:\.[^.]+)?\.weight$/ },
  { role: "b", pattern: /^(.+)\.lora_B(?:\.[^.]+)?\.weight$/ },
  { role: "a", pattern: /^(.+)\.lora_embedding_A(?:\.[^.]+)?$/ },
  { role: "b", pattern: /^(.+)\.lora_embedding_B(?:\.[^.]+)?$/ },
  { role: "bias", pattern: /^(.+)\.lora_B(?:\.[^.]+)?\.bias$/ },
  { role: "scale", pattern: /^(.+)\.ia3_l(?:\.[^.]+)?$/ },
];

const REFUSALS: readonly { readonly pattern: RegExp; readonly is: string; readonly fix: string; readonly code?: "adapter-incomplete" }[] = [
  {
    pattern: /\.lora_magnitude_vector/,
    is: "belongs to DoRA, which is not supported",
    fix: "Merge the adapter into its base with PEFT, or train plain LoRA.",
  },
  {
    pattern: /(?:^|\.)(?:score|classifier|classification_head|qa_outputs)\./,
    is: "is the head of a classifier, for which a language model has no place",
    fix: "Use an adapter trained for a language model (task_type CAUSAL_LM or SEQ_2_SEQ_LM).",
  },
  {
    pattern: /\.lora_[ab]$/,
    is: "is in MLX's form (lora_a [in, rank], lora_b [rank, out])",
    fix: "Save each lora_a transposed as <module>.lora_A.weight and each lora_b transposed as <module>.lora_B.weight, with lora_alpha = scale * rank.",
  },
  {
    pattern: /\.lora_(?:down|up)\./,
    is: "is in the form of image models' adapters (lora_down, lora_up)",
    fix: "Use an adapter of a language model, saved by PEFT.",
  },
  { pattern: /trainable_tokens/, is: "trains single tokens, which is not supported", fix: "Train again without trainable_token_indices." },
  {
    pattern: /./,
    is: "is no part of a LoRA or (IA)3 adapter, so it would be left unused",
    code: "adapter-incomplete",
    fix: "Save the adapter without it; whole modules (modules_to_save) are not supported.",
  },
];

const BASE_LAYER = /(?:\.base_layer)+\.(?:weight|bias)$/;
const WHOLE = /(?:^|\.)(?:lm_head|embed_tokens|wte|shared|embeddings?)\.weight$/;

/** Sorts every tensor of the file. Throws an AdapterError that names the first tensor that belongs to no role. */
export function sortedTensors(tensors: ReadonlyMap<string, TensorInfo>, where: string): SortedTensors {
  refuseEmpty(tensors, where);
  const modules = new Map<string, Partial<Record<Role, TensorInfo>>>();
  const [frozen, whole] = [new Map<string, TensorInfo>(), new Map<string, TensorInfo>()];
  for (const [name, info] of tensors) {
    const path = plainName(name);
    if (BASE_LAYER.test(path)) {
      frozen.set(path.replace(BASE_LAYER, ""), info);
      continue;
    }
    if (WHOLE.test(path)) {
      whole.set(path.replace(/\.weight$/, ""), info);
      continue;
    }
    const { module, role } = placed(path, name, where);
    const entry = modules.get(module) ?? {};
    if (entry[role]) {
      const what = `Two tensors for one place: "${entry[role].name}" and "${name}".`;
      throw new AdapterError({ code: "adapter-incomplete", what, where, fix: "Save one adapter per file." });
    }
    modules.set(module, Object.assign(entry, { [role]: info }));
  }
  if (modules.size === 0)
    throw new AdapterError({
      code: "adapter-incomplete",
      what: "The file holds no adapter tensors.",
      where,
      fix: "Save the adapter again.",
    });
  return { modules, frozen, whole };
}

/** Refuses empty tensors. Under DeepSpeed's ZeRO-3 each process holds a part of each tensor; a tensor that is saved without gathering is empty. */
function refuseEmpty(tensors: ReadonlyMap<string, TensorInfo>, where: string): void {
  const empty = [...tensors.values()].filter(({ bytes }) => bytes === 0);
  const [first] = empty;
  if (!first) return;
  throw new AdapterError({
    code: "adapter-empty-tensors",
    data: { tensor: first.name },
    what: `${empty.length} of the ${tensors.size} tensors are empty, "${first.name}" [${first.shape.join(", ")}] among them: the adapter was saved under DeepSpeed's ZeRO-3 without gathering its weights.`,
    where,
    fix: "Save it again with the weights gathered: stage3_gather_16bit_weights_on_model_save in DeepSpeed's configuration and accelerator.get_state_dict(model), or zero_to_fp32.py on the run's checkpoint.",
  });
}

/** The name without PEFT's and torch.compile's wrappers: "x" for "base_model.model._orig_mod.x". */
function plainName(name: string): string {
  return name.replaceAll("_orig_mod.", "").replace(/^(?:base_model\.model\.)+/, "");
}

function placed(path: string, name: string, where: string): { module: string; role: Role } {
  for (const { role, pattern } of ROLES) {
    const module = pattern.exec(path)?.[1];
    if (module !== undefined) return { module, role };
  }
  const refusal = REFUSALS.find(({ pattern }) => pattern.test(path));
  throw new AdapterError({
    code: refusal?.code ?? "adapter-unsupported",
    what: `Tensor "${name}" ${refusal?.is}.`,
    where,
    fix: refusal?.fix ?? "",
  });
}
