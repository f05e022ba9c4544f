import type { Expert } from "../adapters/expert.ts";
import { float32 } from "../base/tensor.ts";
import type { Embedder } from "../inference/embedder.ts";
import { mergedPool } from "../inference/pool-overlay.ts";
import { retrievalPool } from "../inference/retrieval.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { Woven } from "../inference/woven.ts";
import { createRouter, isScoring, parsedRouter } from "./registry.ts";
import { type Clause, EMBEDDING, routerContract, SIZES } from "./router.contract.ts";

/** The pool under a router of the registry. */
function pool(text: string) {
  return (experts: readonly Expert[], given: { readonly topK?: number }): Woven => {
    const options = parsedRouter(text, given);
    if (!isScoring(options)) throw new Error(`${text} scores no experts`);
    return new RoutedPool(experts, SIZES, { router: createRouter(options) });
  };
}

const TEXTS = [
  "phatgoose",
  "phatgoose:normalize=unit,temperature=0.1",
  "average-activation",
  "arrow",
  "arrow:prototype=mean",
  "arrow-peft",
];
for (const name of [...TEXTS, "spectr", "spectr:scaleBySqrt=true"]) routerContract({ name, open: pool(name) });

routerContract({
  name: "uniform",
  open: pool("uniform"),
  exempt: { "an expert joins an open pool without a new graph": "its top-k is the number of experts, which is part of the graph" },
});

routerContract({
  name: "single",
  open: (experts) => pool("single:expert=e0")(experts, {}),
});

const NO_TOP_K = "all experts' parameters are averaged, so there is no top-k";
routerContract({
  name: "smear",
  open: (experts) => pool("smear")(experts, {}),
  exempt: {
    "padding changes nothing": "the authors' mean over the sequence includes padding",
    "top-1 gives each token one expert with weight 1": NO_TOP_K,
    "ties go to the lower index": NO_TOP_K,
    "an expert joins an open pool without a new graph": "every expert has a weight, and how many there are is part of the graph",
  },
});

function mergedOptions() {
  const options = parsedRouter("merged");
  if (options.kind !== "merged") throw new Error("not merged");
  return options;
}
const NO_ROUTES = "experts are merged beforehand, so nothing is routed";
const merged: Partial<Record<Clause, string>> = {
  "weights sum to 1 and none is negative": NO_ROUTES,
  "top-1 gives each token one expert with weight 1": NO_ROUTES,
  "ties go to the lower index": NO_ROUTES,
  "an expert that lacks a module is no candidate there": NO_ROUTES,
  "an expert joins an open pool without a new graph": NO_ROUTES,
};
routerContract({
  name: "merged",
  open: (experts) => mergedPool(experts, SIZES, mergedOptions()),
  exempt: merged,
});

/** Embeds a prompt by its first token alone, as one of four directions; the one that expert 2 is nearest to among them. */
const embedder: Embedder = {
  name: EMBEDDING.embedder,
  embed: async ({ inputIds: { shape, data } }) => {
    const texts = Array.from({ length: shape[0]! }, (_, row) => Number(data[row * shape[1]!]) % 4);
    const vectors = texts.map((text) => Array.from({ length: EMBEDDING.size }, (_, i) => (i === text ? 1 : 0)));
    return float32([shape[0]!, EMBEDDING.size], vectors.flat());
  },
};
const NOBODY = "where the chosen expert lacks a module, no expert serves there";
routerContract({
  name: "retrieval",
  open: (experts) => retrievalPool(SIZES, experts, embedder),
  exempt: { "weights sum to 1 and none is negative": NOBODY, "top-1 gives each token one expert with weight 1": NOBODY },
});
