import { expect, test } from "vitest";
import type { Expert } from "../adapters/expert.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import type { Base } from "../inference/base.ts";
import type { Embedder } from "../inference/embedder.ts";
import { MoaWoven } from "../inference/moa-woven.ts";
import type { Prompts } from "../inference/prompts.ts";
import { Runner } from "../inference/runner.ts";
import { plain, type Woven } from "../inference/woven.ts";
import { hasOption, METHODS, openMethod, parsedMethod } from "../methods/registry.ts";
import { retrievalPool } from "../methods/retrieval.ts";
import { standardEngine } from "../runtime/session.ts";
import { moeLoraWoven } from "../training/moe-lora.ts";
import { stackedLoras } from "./moa.ts";
import { DECISION_RULES, type DecisionRule, decided } from "./moa-decision.ts";
import { tokenRouterName } from "./moa-token-router.ts";
import { type Clause, EMBEDDING, type Exemption, routerContract, SIZES, type Subject } from "./router.contract.ts";
import { loraOf } from "./stack.ts";

// The contract is tested on two projections without a model; methods need only the sizes of a base's modules, and the runner its engine.
const base = { modules: SIZES, engine: standardEngine() } as unknown as Base;
const model = { base, runner: new Runner(base), woven: plain };

/** The experts with a method of the registry. */
function opened(text: string): Subject["open"] {
  return (experts: readonly Expert[], given: { readonly topK?: number }): Promise<Woven> =>
    openMethod({ ...model, experts }, parsedMethod(text, hasOption(text, "topK") ? given : {}));
}

const run: string[] = [];
function contract(subject: Subject): void {
  run.push(subject.name);
  routerContract(subject);
}

const TEXTS = [
  "phatgoose",
  "phatgoose:normalize=unit,temperature=0.1",
  "average-activation",
  "arrow",
  "arrow:prototype=mean",
  "arrow-peft",
];
for (const name of [...TEXTS, "spectr", "spectr:scaleBySqrt=true"]) contract({ name, open: opened(name) });

const failing = (why: string, message: RegExp, error = "AssertionError"): Exemption => ({ why, error, message });
const CLOSED = failing("experts are put together beforehand", /not a pool that takes experts/, "TypeError");

contract({
  name: "uniform",
  open: opened("uniform"),
  exempt: {
    "an expert joins an open pool without a new graph": failing(
      "its top-k is the number of experts, which is part of the graph",
      /expected 'routed uniform k=4 .* to be 'routed uniform k=3 /,
    ),
  },
});

contract({ name: "single", open: opened("single:expert=e0") });

const NO_TOP_K = "all experts' parameters are averaged, so there is no top-k";
contract({
  name: "smear",
  open: opened("smear"),
  exempt: {
    "padding changes nothing": failing("the authors' mean over the sequence includes padding", /to be less than 0\.00002/),
    "top-1 gives each token one expert with weight 1": failing(NO_TOP_K, /to deeply equal/),
    "ties go to the lower index": failing(NO_TOP_K, /to deeply equal/),
    "an expert joins an open pool without a new graph": failing(
      "every expert has a weight, and how many there are is part of the graph",
      /expected 'routed smear .* k=4 .* to be 'routed smear .* k=3 /,
    ),
  },
});

const unrouted = (why: string): Partial<Record<Clause, Exemption>> => ({
  "weights sum to 1 and none is negative": failing(why, /expected \[\] to deeply equal \[ 'up', 'down' \]/),
  "top-1 gives each token one expert with weight 1": failing(why, /expected \+?0 to be 2/),
  "an expert that lacks a module is no candidate there": failing(why, /Cannot destructure property 'experts'/, "TypeError"),
  "an expert joins an open pool without a new graph": CLOSED,
});
contract({
  name: "merged",
  open: opened("merged"),
  exempt: {
    ...unrouted("experts are merged beforehand, so nothing is routed"),
    "ties go to the lower index": failing("every expert weighs 1 / N", /to be less than 0\.00002/),
  },
});

/** Embeds a prompt by its first token, as one of four directions, including the one nearest to expert 2. */
const embedder: Embedder = {
  name: EMBEDDING.embedder,
  embed: async (prompts) => {
    const vectors = textsOf(prompts).map((text) => Array.from({ length: EMBEDDING.size }, (_, i) => (i === text ? 1 : 0)));
    return float32([vectors.length, EMBEDDING.size], vectors.flat());
  },
};
function textsOf({ inputIds: { shape, data } }: Prompts): number[] {
  return Array.from({ length: shape[0]! }, (_, row) => Number(data[row * shape[1]!]) % 4);
}
const NOBODY = "where the chosen expert lacks a module, no expert serves there";
contract({
  name: "retrieval",
  open: (experts) => retrievalPool(SIZES, experts, embedder),
  exempt: {
    "weights sum to 1 and none is negative": failing(NOBODY, /expected 1 to be less than 0\.00001/),
    "top-1 gives each token one expert with weight 1": failing(NOBODY, /to deeply equal Set/),
  },
});

/** Scores of the domains, [batch, 1, domains]: the similarity of a text to each expert's examples. */
function moaScores(prompts: Prompts, experts: readonly Expert[]): HostTensor<"float32"> {
  const texts = textsOf(prompts);
  const scores = texts.flatMap((text) => experts.map(({ embeddings }) => embeddings!.vectors.data[text]!));
  return float32([texts.length, 1, experts.length], scores);
}
function moa(options: { readonly rule?: DecisionRule; readonly domain?: string }): Subject["open"] {
  return (experts) => {
    const routers = new Map([["block", { weight: float32([experts.length, 16]), bias: float32([experts.length]) }]]);
    const domains = experts.map(({ name }) => name);
    const dispatcher = async (prompts: Prompts) =>
      decided(moaScores(prompts, experts), options.rule ?? "vote").map(({ domains: [domain] }) => domain!);
    return new MoaWoven(model, { domains, routers, pooling: "mean", states: "base", training: {} }, experts, { ...options, dispatcher });
  };
}
const KEPT = "a domain's LoRA serves its text, and changes nothing in a module that it lacks";
for (const rule of DECISION_RULES) {
  contract({
    name: `moa-${rule}`,
    open: moa({ rule }),
    exempt: {
      "an expert that lacks a module is no candidate there": failing(KEPT, /expected true to be false/),
      "an expert joins an open pool without a new graph": { ...CLOSED, why: "its routers know the domains that they were trained on" },
    },
  });
}
contract({
  name: "moa",
  open: moa({ domain: "e0" }),
  exempt: {
    "an expert joins an open pool without a new graph": { ...CLOSED, why: "its routers know the domains that they were trained on" },
  },
});

contract({
  name: "MoE-LoRA",
  open: (experts) => {
    const adapters = experts.map((expert) => ({ kind: "lora" as const, modules: loraOf(expert), warnings: [] }));
    const { tensors, shapes } = stackedLoras(adapters, SIZES);
    const routers = [...shapes].map(([module, shape]): [string, HostTensor<"float32">] => {
      const rows = experts.flatMap(({ gates }) => [...(gates?.get(module)?.data ?? new Float32Array(shape.in))]);
      return [tokenRouterName(module), float32([experts.length, shape.in], rows)];
    });
    return moeLoraWoven(base, adapters, new Map([...tensors, ...routers]));
  },
  exempt: {
    ...unrouted("it weighs all experts, and tells no routes"),
    "ties go to the lower index": failing("it weighs all experts", /to be less than 0\.00002/),
  },
});

test("every method of the registry keeps the contract", () => {
  expect(METHODS.map(({ name }) => name).filter((name) => !run.includes(name))).toEqual([]);
});
