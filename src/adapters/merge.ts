/** @file Merging LoRA adapters into one, and folding one into the base's weights.
 *
 *  With s_z the scaling and w_z the weight of adapter z, per module (adapters without the module take no part):
 *
 *    average          B A = (1/N) sum_z s_z B_z A_z, exactly, as one adapter of the ranks' sum ("Merged Experts", arXiv:2402.05859)
 *    cat              B A = sum_z w_z s_z B_z A_z, exactly, likewise
 *    linear           A = sum_z sqrt(w_z s_z) A_z, B likewise; it has cross terms B_y A_z
 *    ties             A and B each: trim, elect signs, mean of those that agree (Yadav et al. 2023, arXiv:2306.01708)
 *    dare_linear      A and B each: drop at random, rescale by 1 / density, sum (Yu et al. 2023, arXiv:2311.03099)
 *    dare_ties        drop at random, then elect signs
 *    magnitude_prune  trim, then sum
 *    svd, ..._svd     the same on the dense s_z B_z A_z with weights w_z s_z, cut to `rank` by SVD
 *
 *  All but `average` give PEFT's numbers (add_weighted_adapter of newer PEFT, tuners/lora/model.py), including PEFT's peculiarities:
 *  the svd methods apply the scaling twice; ties elects signs without the weights and divides by the number of entries that agree.
 *  A negative weight changes the sign of A only. */

import { AdapterError, OptionError } from "../base/errors.ts";
import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import type { LoraAdapter, LoraWeights } from "./adapter.ts";
import { addProduct, fromColumns, fromRows, productSvd, type Svd, truncatedSvd } from "./linalg.ts";
import { dropped, electedMean, trimmed, weightedSum } from "./merge-rules.ts";

const RULES = ["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"] as const;
const SVD_METHODS = ["svd", "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd"] as const;
/** The names of all methods. */
export const MERGE_METHODS = ["average", "cat", ...RULES, ...SVD_METHODS] as const;
type Rule = (typeof RULES)[number];

interface RuleOptions {
  /** Share of entries kept when trimming or dropping, in (0, 1]. */
  readonly density?: number;
  /** How ties elects a sign: by the sum of the entries, or by counting signs. */
  readonly majoritySign?: "total" | "frequency";
  /** Whether DARE divides the kept entries by the density: true as in the paper and in newer PEFT (the default), false as in PEFT 0.12. */
  readonly rescale?: boolean;
  /** Seed of DARE's choice. */
  readonly seed?: number;
  /** Masks that replace DARE's random choice: 1 keeps the entry; one mask per adapter that has the module. */
  readonly masks?: (module: string, factor: "a" | "b" | "product") => readonly Uint8Array[];
}

/** How `mergeAdapters` merges: the method's name, and its options. `{ kind: "average" }` is exact; the others give PEFT's numbers. */
export type MergeMethod =
  | { readonly kind: "average"; readonly rank?: number }
  | { readonly kind: "cat" }
  | ({ readonly kind: Rule } & RuleOptions)
  | ({ readonly kind: (typeof SVD_METHODS)[number]; readonly rank?: number } & RuleOptions);

/** One adapter's share in a module. */
interface Share {
  readonly lora: LoraWeights;
  readonly weight: number;
}

/** Merges adapters over the same base. `weights`: one per adapter (default 1 each; `average` takes none). The result's scaling is 1. */
export function mergeAdapters(
  adapters: readonly LoraAdapter[],
  method: MergeMethod,
  weights: readonly number[] = adapters.map(() => 1),
): LoraAdapter {
  if (adapters.length === 0 || weights.length !== adapters.length) {
    const what = `merge: expected one weight per adapter and at least one adapter, got ${adapters.length} adapters and ${weights.length} weights.`;
    throw new OptionError({
      code: "option-count",
      data: { option: "weights", expected: adapters.length, got: weights.length },
      what,
      fix: "Give as many weights as adapters.",
    });
  }
  const shares = method.kind === "average" ? adapters.map(() => 1 / adapters.length) : weights;
  const merged = new Map<string, LoraWeights>();
  for (const module of new Set(adapters.flatMap((adapter) => [...adapter.modules.keys()]))) {
    const present = adapters.flatMap((adapter, z): Share[] => {
      const lora = adapter.modules.get(module);
      return lora ? [{ lora, weight: shares[z]! }] : [];
    });
    const { embedding } = present[0]!.lora;
    merged.set(module, { ...mergedModule(module, present, method), ...(embedding && { embedding }) });
  }
  const config = sharedConfig(adapters);
  return { kind: "lora", modules: merged, warnings: [], ...(config && { config }) };
}

/** The first adapter's configuration if all adapters have the same modules. Its base and targets are then also those of the result. */
function sharedConfig(adapters: readonly LoraAdapter[]): LoraAdapter["config"] {
  const [first, ...others] = adapters;
  const same = others.every(
    ({ modules }) => modules.size === first?.modules.size && [...modules.keys()].every((module) => first.modules.has(module)),
  );
  return same ? first?.config : undefined;
}

function mergedModule(module: string, shares: readonly Share[], method: MergeMethod): LoraWeights {
  switch (method.kind) {
    case "average": {
      const exact = concatenated(shares);
      return method.rank === undefined || method.rank >= exact.rank
        ? exact
        : { ...cut(productSvd(exact.a, exact.b), method.rank), ...biasOf(exact) };
    }
    case "cat":
      return concatenated(shares);
    case "linear":
    case "ties":
    case "dare_linear":
    case "dare_ties":
    case "magnitude_prune":
      refuseBias(module, shares, method.kind);
      return mergedFactors(module, shares, method);
    default:
      refuseBias(module, shares, method.kind);
      return mergedProduct(module, shares, method);
  }
}

/** Exact sum of products: A_z stacked with their factors, B_z side by side. */
function concatenated(shares: readonly Share[]): LoraWeights {
  const width = shares[0]!.lora.a.shape[1]!;
  const out = shares[0]!.lora.b.shape[0]!;
  const rank = shares.reduce((sum, { lora }) => sum + lora.rank, 0);
  const a = float32([rank, width]);
  const b = float32([out, rank]);
  const bias = shares.some(({ lora }) => lora.bias) ? float32([out]) : undefined;
  let at = 0;
  for (const { lora, weight } of shares) {
    const factor = weight * lora.scaling;
    for (let i = 0; i < lora.a.data.length; i++) a.data[at * width + i] = factor * lora.a.data[i]!;
    for (let o = 0; o < out; o++) b.data.set(lora.b.data.subarray(o * lora.rank, (o + 1) * lora.rank), o * rank + at);
    if (bias && lora.bias) for (let o = 0; o < out; o++) bias.data[o]! += factor * lora.bias.data[o]!;
    at += lora.rank;
  }
  return { rank, scaling: 1, a, b, ...(bias && { bias }) };
}

function mergedFactors(module: string, shares: readonly Share[], method: { readonly kind: Rule } & RuleOptions): LoraWeights {
  const rank = shares[0]!.lora.rank;
  if (shares.some(({ lora }) => lora.rank !== rank)) {
    throw new AdapterError({
      code: "adapter-ranks-differ",
      data: { module },
      what: `merge: ${method.kind} needs adapters of one rank; ${module} has ${shares.map(({ lora }) => lora.rank).join(", ")}.`,
      where: module,
      fix: "Use average, cat or svd, which take different ranks.",
    });
  }
  const roots = shares.map(({ lora, weight }) => Math.sqrt(Math.abs(weight * lora.scaling)));
  const signed = roots.map((root, z) => root * Math.sign(shares[z]!.weight * shares[z]!.lora.scaling));
  const merge = (factor: "a" | "b", weights: readonly number[]): HostTensor<"float32"> => {
    const tensors = shares.map(({ lora }) => Float64Array.from(lora[factor].data));
    return float32(shares[0]!.lora[factor].shape, Float32Array.from(combined(tensors, weights, method, { module, factor })));
  };
  return { rank, scaling: 1, a: merge("a", signed), b: merge("b", roots) };
}

function mergedProduct(
  module: string,
  shares: readonly Share[],
  method: MergeMethod & { readonly rank?: number } & RuleOptions,
): LoraWeights {
  const rank = method.rank ?? Math.max(...shares.map(({ lora }) => lora.rank));
  const weights = shares.map(({ lora, weight }) => weight * lora.scaling); // applies the scaling a second time, as in PEFT
  const size = { out: shares[0]!.lora.b.shape[0]!, in: shares[0]!.lora.a.shape[1]! };
  if (method.kind === "svd") {
    const sum = concatenated(shares.map(({ lora }, z) => ({ lora, weight: weights[z]! })));
    if (sum.rank < Math.min(size.out, size.in)) return cut(productSvd(sum.a, sum.b), rank);
  }
  const products = shares.map(({ lora }) => loraProduct(lora));
  const rule: RuleOptions & { kind: Rule } = { ...method, kind: ruleOf(method.kind) };
  return cut(truncatedSvd(combined(products, weights, rule, { module, factor: "product" }), size, rank), rank);
}

function ruleOf(kind: MergeMethod["kind"]): Rule {
  const rules = {
    svd: "linear",
    ties_svd: "ties",
    dare_linear_svd: "dare_linear",
    dare_ties_svd: "dare_ties",
    magnitude_prune_svd: "magnitude_prune",
  } as const;
  if (kind in rules) return rules[kind as keyof typeof rules];
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "method", got: kind, known: MERGE_METHODS },
    what: `merge: no method "${kind}".`,
    fix: `Use ${MERGE_METHODS.join(", ")}.`,
  });
}

/** One merging rule on one tensor of every adapter. */
function combined(
  tensors: readonly Float64Array[],
  weights: readonly number[],
  options: { readonly kind: Rule } & RuleOptions,
  place: { readonly module: string; readonly factor: "a" | "b" | "product" },
): Float64Array {
  if (options.kind === "linear") return weightedSum(tensors, weights);
  const density = checkedDensity(options);
  const { majoritySign = "total", rescale = true } = options;
  const random = (z: number): Random => seededRandom(derivedSeed(options.seed ?? 0, place.module, place.factor, z));
  const masks = options.masks?.(place.module, place.factor);
  const drop = () => tensors.map((tensor, z) => dropped(tensor, { density, rescale, choice: masks?.[z] ?? random(z) }));
  const trim = () => tensors.map((tensor) => trimmed(tensor, density));
  switch (options.kind) {
    case "ties":
      return electedMean(trim(), weights, majoritySign);
    case "dare_ties":
      return electedMean(drop(), weights, majoritySign);
    case "dare_linear":
      return weightedSum(drop(), weights);
    case "magnitude_prune":
      return weightedSum(trim(), weights);
  }
}

function checkedDensity({ kind, density }: { readonly kind: Rule } & RuleOptions): number {
  if (density !== undefined && density > 0 && density <= 1) return density;
  throw new OptionError({
    code: "option-out-of-range",
    data: { option: "density", expected: "(0, 1]", got: String(density) },
    what: `merge: ${kind} expects a density in (0, 1], got ${density}.`,
    fix: "Give the share of entries to keep, for instance 0.5.",
  });
}

function cut({ left, values, right }: Svd, rank: number): LoraWeights {
  const scaled = left.slice(0, rank).map((u, i) => u.map((value) => value * values[i]!));
  return { rank: scaled.length, scaling: 1, a: fromRows(right.slice(0, rank)), b: fromColumns(scaled) };
}

function refuseBias(module: string, shares: readonly Share[], kind: string): void {
  if (!shares.some(({ lora }) => lora.bias)) return;
  throw new AdapterError({
    code: "adapter-has-bias",
    data: { module },
    what: `merge: ${kind} has no rule for adapters with lora_bias.`,
    where: module,
    fix: "Use average or cat.",
  });
}

function biasOf({ bias }: LoraWeights): { bias?: HostTensor<"float32"> } {
  return bias ? { bias } : {};
}

/** scaling B A as a dense matrix [out, in], row by row, in float64. */
export function loraProduct({ a, b, scaling }: LoraWeights): Float64Array {
  const product = new Float64Array(b.shape[0]! * a.shape[1]!);
  addProduct(product, a, b, scaling);
  return product;
}

/** W + scaling B A. `weight`: [out, in], or [in, out] with `transposed` (GPT-2's Conv1D) -> the same shape. */
export function foldedWeight(weight: HostTensor<"float32">, lora: LoraWeights, { transposed = false } = {}): HostTensor<"float32"> {
  const [out, width] = [lora.b.shape[0]!, lora.a.shape[1]!];
  const [first, second] = transposed ? [width, out] : [out, width];
  if (weight.shape[0] !== first || weight.shape[1] !== second) {
    const what = `fold: expected a weight [${first}, ${second}] for this adapter, got [${weight.shape.join(", ")}].`;
    throw new AdapterError({ code: "adapter-shape", what, fix: "Fold the adapter into the base model it was trained on." });
  }
  const product = loraProduct(lora);
  const data = Float32Array.from(weight.data, (value, i) => value + product[transposed ? (i % out) * width + Math.floor(i / out) : i]!);
  return { dtype: "float32", shape: weight.shape, data };
}
