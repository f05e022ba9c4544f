/** @file The methods that an evaluation compares, each as something woven into the base model.
 *
 *    base               nothing
 *    experts            each expert of the pool alone, for every task
 *    merged             one adapter merged from all experts; by default the average of their products, Merged Experts
 *    adapter            one adapter, such as a multitask one
 *    model              another model, such as a fully fine-tuned one
 *    router             the pool with a router, given by name and options ("arrow:temperature=1") or as an object
 *    overlay            anything else woven into the base, such as a Mixture of LoRAs
 *    lorahub            for each task, the combination of experts that LoraHub finds with the task's few labeled examples
 *    per_query          one expert for each input, chosen by a function of the input (retrieval, a domain classifier)
 *    best_individual    the expert with the best mean over a group's tasks; it uses the test labels, so it is only an upper bound
 *    oracle             for each task, the best expert on it; likewise
 *
 *  The last three are computed from the results of the single experts, without running the model. */

import { createHash } from "node:crypto";
import type { Adapter } from "../../adapters/adapter.ts";
import type { Expert } from "../../adapters/expert.ts";
import type { MergeMethod } from "../../adapters/merge.ts";
import { OptionError } from "../../base/errors.ts";
import type { HostTensor } from "../../base/tensor.ts";
import type { Model } from "../../inference/model.ts";
import { RoutedPool } from "../../inference/routed-pool.ts";
import { plain, singleAdapter, type Woven } from "../../inference/woven.ts";
import { mergedExperts } from "../../methods/merged.ts";
import type { PoolParts } from "../../methods/method.ts";
import { detailsOf, openMethod, parsedMethod, readBy } from "../../methods/registry.ts";
import type { SearchOptions } from "../../routing/lorahub.ts";
import type { Router } from "../../routing/router.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { encodeExamples } from "../../training/examples.ts";
import { lorahub } from "../../training/lorahub.ts";
import type { EvaluationTask } from "./evaluation-task.ts";
import { expertRow } from "./expert-row.ts";

/** One row of a comparison: the base, the single experts, an adapter, a merge, a router by its name or as a value, another model. */
export type Method =
  | { readonly kind: "base" | "experts" | "best_individual" | "oracle"; readonly name?: string }
  | { readonly kind: "merged"; readonly name?: string; readonly merge?: MergeMethod }
  | { readonly kind: "adapter"; readonly name: string; readonly adapter: Adapter }
  | { readonly kind: "model"; readonly name: string; readonly model: Model; readonly fingerprint: string }
  | {
      readonly kind: "router";
      readonly router: Router | string;
      readonly topK?: number;
      readonly name?: string;
    }
  | {
      readonly kind: "overlay";
      readonly name: string;
      readonly woven: () => Woven | Promise<Woven>;
      /** The cache key of its answers, such as a hash of files. It must change whenever the answers may change. */
      readonly state: string;
    }
  | ({ readonly kind: "lorahub"; readonly name?: string } & Pick<SearchOptions, "evaluations" | "seed">)
  | {
      readonly kind: "per_query";
      readonly name: string;
      /** The index of the expert for each input. */
      readonly choose: (inputs: readonly string[]) => Promise<readonly number[]>;
    };
/** The kinds of rows that a comparison can have. */
export type MethodKind = Method["kind"];

/** One method to run on every task. */
export interface MethodRun {
  readonly name: string;
  readonly kind: MethodKind;
  /** Equal identities give equal answers. */
  readonly identity: string;
  readonly model: Model;
  /** What is woven into the base; made for each task if `perTask`. */
  readonly woven: (task: EvaluationTask) => Woven | Promise<Woven>;
  readonly perTask?: boolean;
  /** A note for readers of the results. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Methods that need the results of every single expert. */
export const NEEDS_EXPERTS: ReadonlySet<MethodKind> = new Set(["experts", "best_individual", "oracle", "per_query"]);

/** The name of a method's row in the results. */
export function methodName(method: Method): string {
  switch (method.kind) {
    case "base":
      return method.name ?? "base";
    case "merged":
      return method.name ?? (method.merge && method.merge.kind !== "average" ? `merged ${method.merge.kind}` : "merged");
    case "best_individual":
      return method.name ?? "best individual";
    case "oracle":
      return method.name ?? "oracle";
    case "experts":
      return method.name ?? "experts";
    case "lorahub":
      return method.name ?? "lorahub";
    case "router": {
      const own = typeof method.router === "string" ? method.router : method.router.name;
      return method.name ?? (method.topK === undefined ? own : `${own} k=${method.topK}`);
    }
    default:
      return method.name;
  }
}

export interface ComparisonSetting extends PoolParts {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly experts: readonly Expert[];
}

/** The runs for these methods. The single experts are run before the methods that need them. */
export async function methodRuns(methods: readonly Method[], setting: ComparisonSetting): Promise<MethodRun[]> {
  const { model, experts } = setting;
  const runs: MethodRun[] = [];
  for (const method of methods) {
    if (!["base", "adapter", "model", "overlay"].includes(method.kind)) requireExperts(method, experts);
    if (NEEDS_EXPERTS.has(method.kind)) {
      if (!runs.some(({ kind }) => kind === "experts")) runs.push(...experts.map((expert) => expertRun(expert, model)));
    } else runs.push(await ownRun(method, setting));
  }
  const names = [
    ...runs.map(({ name }) => name),
    ...methods.filter(({ kind }) => kind !== "experts" && NEEDS_EXPERTS.has(kind)).map(methodName),
  ];
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice === undefined) return runs;
  throw new OptionError({
    code: "option-duplicate",
    data: { option: "methods", got: twice },
    what: `Two methods are named "${twice}".`,
    where: "methods",
    fix: "Give one of them another name.",
  });
}

function expertRun(expert: Expert, model: Model): MethodRun {
  const { adapter } = expert;
  return {
    name: expertRow(expert),
    kind: "experts",
    identity: `adapter ${adapterHash(adapter)}`,
    model,
    woven: () => singleAdapter(adapter, model.base.modules),
  };
}

async function ownRun(method: Method, setting: ComparisonSetting): Promise<MethodRun> {
  const { model, experts } = setting;
  const shared = { name: methodName(method), kind: method.kind, model };
  switch (method.kind) {
    case "adapter":
      return {
        ...shared,
        identity: `adapter ${adapterHash(method.adapter)}`,
        woven: () => singleAdapter(method.adapter, model.base.modules),
      };
    case "model":
      return { ...shared, model: method.model, identity: `model ${method.fingerprint}`, woven: () => method.model.woven };
    case "overlay":
      return { ...shared, identity: `overlay ${method.state}`, woven: method.woven };
    case "merged": {
      const { merge = { kind: "average" } } = method;
      const identity = `merged ${JSON.stringify(merge)} ${experts.map(({ adapter }) => adapterHash(adapter)).join()}`;
      return { ...shared, identity, woven: () => singleAdapter(mergedExperts(experts, merge), model.base.modules) };
    }
    case "lorahub": {
      const { kind: _, name: __, ...options } = method;
      const identity = `lorahub ${JSON.stringify(options)} ${experts.map(({ adapter }) => adapterHash(adapter)).join()}`;
      return { ...shared, identity, perTask: true, woven: (task) => combinedFor(task, setting, options) };
    }
    case "router": {
      const { router, topK } = method;
      const identity = `k=${topK ?? ""} ${experts.map(expertIdentity).join()}`;
      if (typeof router !== "string") {
        const woven = () => new RoutedPool(experts, model.base.modules, { router, ...(topK !== undefined && { topK }) });
        return { ...shared, identity: `router ${routerIdentity(router, setting)} ${identity}`, woven };
      }
      const choice = parsedMethod(router, { topK });
      const read = await readBy(choice, setting);
      const details = detailsOf(choice);
      return {
        ...shared,
        identity: `router ${JSON.stringify(choice)} ${identity}${read === undefined ? "" : ` ${contentHash(read)}`}`,
        woven: () => openMethod({ ...setting, base: model.base, runner: model.runner }, choice),
        ...(details && { details }),
      };
    }
    default:
      return { ...shared, identity: "base", woven: () => plain };
  }
}

/** The combination of experts for one task, from its labeled examples. */
async function combinedFor(
  { name, shots = [], targetDelimiter }: EvaluationTask,
  setting: ComparisonSetting,
  options: SearchOptions,
): Promise<Woven> {
  const { model, tokenizer, experts } = setting;
  if (shots.length === 0) {
    const fix = "Give the task a few labeled examples (`shots`), or leave lorahub out.";
    throw new OptionError({
      code: "task-needs-shots",
      data: { task: name, method: "lorahub" },
      what: `LoraHub learns from labeled examples, and task "${name}" has none.`,
      where: "methods",
      fix,
    });
  }
  const pairs = shots.map(({ input, target }) => ({ kind: "pair" as const, input, target: targetDelimiter + target }));
  const { examples } = encodeExamples(pairs, tokenizer, model.base.architecture, { maxInput: 512, maxTarget: 512 });
  const { adapter } = await lorahub(model, experts, examples, options);
  return singleAdapter(adapter, model.base.modules);
}

function requireExperts(method: Method, experts: readonly Expert[]): void {
  if (experts.length > 0) return;
  throw new OptionError({
    code: "option-needs-pool",
    data: { options: ["methods"], method: methodName(method) },
    what: `Method ${methodName(method)} needs experts, and there are none.`,
    where: "methods",
    fix: "Give `experts`, those of a pool.",
  });
}

const hashes = new WeakMap<object, string>();

/** A hash of an adapter's numbers. */
function adapterHash(adapter: Adapter): string {
  return remembered(adapter, () => [...adapter.modules].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A hash of an adapter and of its data for routers. */
function expertIdentity({ name, adapter, gates, activations, embeddings }: Expert): string {
  const known = [gates && [...gates], activations && [...activations], embeddings];
  return `${name}:${adapterHash(adapter)}:${remembered(gates ?? activations ?? embeddings ?? adapter.modules, () => known)}`;
}

/** A router's identity: its options and the numbers it scores these experts with. Its key covers only what changes the graph. */
function routerIdentity(router: Router, { experts }: ComparisonSetting): string {
  const { name, key, topK, mixes, renormalize } = router;
  const prototypes = experts.map((expert) => [...expert.adapter.modules.keys()].map((module) => router.prototype(expert, module)));
  return contentHash({ name, key, topK: String(topK), mixes, renormalize, prototypes });
}

function remembered(key: object, value: () => unknown): string {
  const known = hashes.get(key) ?? contentHash(value());
  hashes.set(key, known);
  return known;
}

/** SHA-256 of a value made of plain data and tensors, in 32 hexadecimal digits. */
export function contentHash(value: unknown): string {
  const hash = createHash("sha256");
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (!isTensor(item)) return item;
    const { dtype, shape, data } = item;
    const bytes = createHash("sha256")
      .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      .digest("hex");
    return { dtype, shape, bytes };
  });
  return hash.update(text).digest("hex").slice(0, 32);
}

function isTensor(value: unknown): value is HostTensor {
  return typeof value === "object" && value !== null && "data" in value && ArrayBuffer.isView(value.data);
}
