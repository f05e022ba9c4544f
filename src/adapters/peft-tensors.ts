/** @file The tensors of an adapter_model.safetensors, sorted by module and role (reference: peft, utils/save_and_load.py).
 *
 *    base_model.model.<module>.lora_A.weight [rank, in]   .lora_B.weight [out, rank]   .lora_B.bias [out]
 *    base_model.model.<module>.ia3_l  [out, 1], or [1, in] on feed-forward modules
 *
 *  Also read: the prefix repeated, `_orig_mod` of compiled models, and the adapter's name inside (`lora_A.default.weight`). */

import { AdapterError } from "../base/errors.ts";
import type { TensorInfo } from "../checkpoint/safetensors.ts";

export type Role = "a" | "b" | "bias" | "scale";

/** The tensors of one module, by role. */
export type ModuleTensors = Readonly<Partial<Record<Role, TensorInfo>>>;

export interface SortedTensors {
  /** Keyed by the module path as the adapter spells it. */
  readonly modules: ReadonlyMap<string, ModuleTensors>;
  /** Tensors that are part of the base model, saved beside the adapter. */
  readonly ignored: readonly string[];
}

const ROLES: readonly { readonly role: Role; readonly pattern: RegExp }[] = [
  { role: "a", pattern: /^(.+)\.lora_A(?:\.[^.]+)?\.weight$/ },
  { role: "b", pattern: /^(.+)\.lora_B(?:\.[^.]+)?\.weight$/ },
  { role: "bias", pattern: /^(.+)\.lora_B(?:\.[^.]+)?\.bias$/ },
  { role: "scale", pattern: /^(.+)\.ia3_l(?:\.[^.]+)?$/ },
];

const REFUSALS: readonly { readonly pattern: RegExp; readonly is: string; readonly fix: string }[] = [
  {
    pattern: /\.lora_magnitude_vector/,
    is: "belongs to DoRA, which is not supported",
    fix: "Merge the adapter into its base with PEFT, or train plain LoRA.",
  },
  {
    pattern: /\.lora_embedding_[AB]/,
    is: "adapts an embedding, which is not supported",
    fix: "Train again without embeddings in target_modules.",
  },
  { pattern: /trainable_tokens/, is: "trains single tokens, which is not supported", fix: "Train again without trainable_token_indices." },
  {
    pattern: /(?:^|\.)(?:lm_head|embed_tokens|wte|shared|embeddings?)\.(?:weight|bias)$/,
    is: "is a whole tensor of the base model (modules_to_save, or a resized vocabulary)",
    fix: "Merge the adapter into its base with PEFT, or train again without it.",
  },
  {
    pattern: /./,
    is: "is no part of a LoRA or (IA)3 adapter, so it would be left unused",
    fix: "Save the adapter without it; whole modules (modules_to_save) are not supported.",
  },
];

/** Sorts every tensor of the file, or throws an AdapterError that names the first one that has no place. */
export function sortedTensors(tensors: ReadonlyMap<string, TensorInfo>, where: string): SortedTensors {
  const modules = new Map<string, Partial<Record<Role, TensorInfo>>>();
  const ignored: string[] = [];
  for (const [name, info] of tensors) {
    const path = plainName(name);
    if (path.includes(".base_layer.")) {
      ignored.push(name);
      continue;
    }
    const { module, role } = placed(path, name, where);
    const entry = modules.get(module) ?? {};
    if (entry[role]) {
      const what = `Two tensors for one place: "${entry[role].name}" and "${name}".`;
      throw new AdapterError({ what, where, fix: "Save one adapter per file." });
    }
    modules.set(module, Object.assign(entry, { [role]: info }));
  }
  if (modules.size === 0) throw new AdapterError({ what: "The file holds no adapter tensors.", where, fix: "Save the adapter again." });
  return { modules, ignored };
}

/** The name without PEFT's and torch.compile's wrappers: "base_model.model._orig_mod.x" is "x". */
function plainName(name: string): string {
  return name.replaceAll("_orig_mod.", "").replace(/^(?:base_model\.model\.)+/, "");
}

function placed(path: string, name: string, where: string): { module: string; role: Role } {
  for (const { role, pattern } of ROLES) {
    const module = pattern.exec(path)?.[1];
    if (module !== undefined) return { module, role };
  }
  const refusal = REFUSALS.find(({ pattern }) => pattern.test(path));
  throw new AdapterError({ what: `Tensor "${name}" ${refusal?.is}.`, where, fix: refusal?.fix ?? "" });
}
