/** @file The state_dict of the PHATGOOSE authors' code (r-three/phatgoose 4fd5790), sorted into experts.
 *
 *    <module>._addons.expert_lora.layer1__i          [in, rank]   Aᵀ of expert i
 *    <module>._addons.expert_lora.layer2__i          [rank, out]  Bᵀ;  y = W u + (1 / rank) B A u
 *    <module>._addons.router.expert_embeddings__i    [in]         the vector that the router compares with a token: the trained gate
 *                                                                 (PHATGOOSE) or the average activation (the baseline)
 *
 *  Merged Experts is one expert, number 0, whose router vectors are zero. The files also hold the base's table of embeddings. The file of
 *  a single expert also holds its gate from training; the authors' script drops that too. Any other name is refused. */

import { CheckpointError } from "../base/errors.ts";
import type { View } from "../pickle/values.ts";
import { closestNames, type ModuleSizes } from "./modules.ts";

/** A tensor with its name. */
export interface Named {
  readonly name: string;
  readonly view: View;
}

/** One module of one expert. */
export interface StateModule {
  readonly layer1: Named;
  readonly layer2: Named;
  readonly vector?: Named;
}

/** An expert: its modules by name. */
export type StateExpert = ReadonlyMap<string, StateModule>;

export interface PhatgooseState {
  readonly experts: readonly StateExpert[];
  /** Whether the experts have router vectors. */
  readonly hasVectors: boolean;
  readonly warnings: readonly string[];
}

type Part = keyof StateModule;

const PART = /^(.+)\._addons\.(?:expert_lora\.layer([12])|router\.expert_embeddings)__(0|[1-9]\d{0,5})$/;
const PASSED_OVER: readonly { readonly pattern: RegExp; readonly is: string }[] = [
  { pattern: /^(?:(?:encoder|decoder)\.embed_tokens|shared)\.weight$/, is: "the base model's embeddings" },
  { pattern: /\._addons\.expert_lora\.expert_(?:input|output)_gate$/, is: "gates as they were while they trained" },
];

/** Sorts the tensors of a file; `where` names the file. Reads only names and shapes. */
export function phatgooseState(tensors: ReadonlyMap<string, View>, where: string): PhatgooseState {
  const experts = new Map<number, Map<string, Partial<Record<Part, Named>>>>();
  const passedOver = new Map<string, number>();
  for (const [name, view] of tensors) {
    const [, module, layer, index] = PART.exec(name) ?? [];
    if (module !== undefined && index !== undefined) {
      const part: Part = layer === "1" ? "layer1" : layer === "2" ? "layer2" : "vector";
      const modules = experts.get(Number(index)) ?? new Map<string, Partial<Record<Part, Named>>>();
      experts.set(Number(index), modules);
      modules.set(module, { ...modules.get(module), [part]: { name, view } });
    } else {
      const known = PASSED_OVER.find(({ pattern }) => pattern.test(name));
      if (!known) throw unknownName(name, where);
      passedOver.set(known.is, (passedOver.get(known.is) ?? 0) + 1);
    }
  }
  if (experts.size === 0) throw bad(where, "The file holds no experts.", "Give a best.pt of the authors' code, or another form of file.");
  const numbered = Array.from({ length: experts.size }, (_, index) => {
    const modules = experts.get(index);
    if (modules) return complete(modules, index, where);
    throw bad(where, `The file holds ${experts.size} experts and none with number ${index}.`, "Number them from 0 on.");
  });
  const vectors = numbered.flatMap((expert) => [...expert.values()].map(({ vector }) => vector !== undefined));
  if (vectors.includes(true) && vectors.includes(false)) throw someWithout(numbered, where);
  const warnings = [...passedOver].map(([is, count]) => `${count} of the file's tensors are ${is}: passed over.`);
  return { experts: numbered, hasVectors: vectors.includes(true), warnings };
}

/** Checks every module against the base model. */
export function checkAgainstBase({ experts }: PhatgooseState, modules: ModuleSizes, where: string): void {
  for (const [index, expert] of experts.entries()) {
    for (const [module, { layer1, layer2 }] of expert) {
      const size = modules.get(module);
      if (!size || size.embedding) {
        const fix = `Give the base model it was trained on. Closest names in this one: ${closestNames(module, modules.keys()).join(", ") || "none"}.`;
        throw bad(where, `Expert ${index} has a module "${module}", and the base model has none.`, fix);
      }
      if (layer1.view.shape[0] === size.in && layer2.view.shape[1] === size.out) continue;
      const sizes = `[${layer1.view.shape[0]} -> ${layer2.view.shape[1]}]; the base's is [${size.in} -> ${size.out}]`;
      throw bad(where, `Expert ${index}'s ${module} is ${sizes}.`, "Give the base model it was trained on.");
    }
  }
}

function complete(modules: ReadonlyMap<string, Partial<Record<Part, Named>>>, index: number, where: string): StateExpert {
  const expert = new Map<string, StateModule>();
  for (const [module, { layer1, layer2, vector }] of modules) {
    if (!layer1 || !layer2) {
      const missing = [...(layer1 ? [] : ["layer1"]), ...(layer2 ? [] : ["layer2"])].join(" and ");
      const what = `Expert ${index} has no ${missing} of ${module}.`;
      const fix =
        "Each module needs its own LoRA and router vector; a router for a whole stack (the authors' architecture A1) is not supported.";
      throw bad(where, what, fix);
    }
    const [[inputs, rank, ...more], [rank2, , ...more2]] = [layer1.view.shape, layer2.view.shape];
    const isLora = rank !== undefined && rank > 0 && rank === rank2 && layer2.view.shape.length === 2;
    const fits = !vector || (vector.view.shape.length === 1 && vector.view.shape[0] === inputs);
    if (!isLora || !fits || more.length + more2.length > 0) {
      const shapes = [layer1, layer2, ...(vector ? [vector] : [])].map(({ view }) => `[${view.shape.join(", ")}]`).join(", ");
      const what = `The tensors of expert ${index}'s ${module} have shapes ${shapes}; expected [in, rank], [rank, out]${vector ? ", [in]" : ""}.`;
      throw bad(where, what, "Save the checkpoint again with the authors' code.");
    }
    expert.set(module, vector ? { layer1, layer2, vector } : { layer1, layer2 });
  }
  return expert;
}

function someWithout(experts: readonly StateExpert[], where: string): CheckpointError {
  for (const [index, expert] of experts.entries()) {
    for (const [module, { vector }] of expert) {
      if (!vector) return bad(where, `Expert ${index} has no router vector for ${module}, and others have.`, "Give the whole checkpoint.");
    }
  }
  return bad(where, "Some experts have no router vectors.", "Give the whole checkpoint.");
}

function unknownName(name: string, where: string): CheckpointError {
  const what = `Tensor ${JSON.stringify(name.slice(0, 200))} is none of this form, so what it does is not known.`;
  const fix =
    "Expected <module>._addons.expert_lora.layer1__i, .layer2__i and <module>._addons.router.expert_embeddings__i. Take other tensors out, or convert it as another form.";
  return bad(where, what, fix);
}

function bad(where: string, what: string, fix: string): CheckpointError {
  return new CheckpointError({ code: "torch-names", what, where, fix });
}
