/** @file Expert use by task: routing weights summed over examples, with their targets as the answer.
 *
 *    use[task, module, expert]   mean weight of the expert over the task's tokens; sums to 1 over experts
 *    entropy                     of that use, in units of log(experts): 0 if only one expert is used, 1 if all are used equally
 *    agreement                   the weight of the task's best single expert (its oracle); by chance 1 / experts */

import { OptionError } from "../../base/errors.ts";
import { throwIfStopped } from "../../base/stopped.ts";
import { padded } from "../../base/tensor.ts";
import type { Model } from "../../inference/model.ts";
import type { HostRoute } from "../../inference/runner.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Task } from "../tasks/task.ts";
import { encodeAnswer, encodeContext } from "./encode.ts";
import { longestSequence } from "./length.ts";
import { lastOf } from "./score-tokens.ts";
import { outputModules } from "./trace.ts";

/** How much of a task each expert serves at one module. */
export interface ModuleUse {
  readonly module: string;
  /** Mean weight of each expert, in the pool's order. */
  readonly use: readonly number[];
}
/** How much of a task each expert serves, module by module. */
export interface TaskUse {
  readonly task: string;
  readonly modules: readonly ModuleUse[];
}
/** Which experts served which tasks, as `routeUsage` adds it up. */
export interface RouteUsage {
  /** The name of the router. */
  readonly router?: string;
  readonly experts: readonly string[];
  readonly tasks: readonly TaskUse[];
}
/** What `routeUsage` looks at. */
export interface UsageOptions {
  /** Examples per task, from its beginning. Default 32. */
  readonly examples?: number;
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** Sums the routes of a routed model.
 *  @throws OptionError where nothing is routed, StoppedError when the signal aborts. */
export async function routeUsage(
  model: Model,
  tokenizer: Tokenizer,
  tasks: readonly Task[],
  { examples = 32, batchSize = 16, signal }: UsageOptions = {},
): Promise<RouteUsage> {
  const { experts } = model.woven;
  if (experts.length === 0)
    throw new OptionError({
      code: "option-needs-pool",
      data: { options: ["experts"] },
      what: "Nothing is routed.",
      fix: "Give a pool of experts with a router.",
    });
  const used: TaskUse[] = [];
  for (const task of tasks) {
    const totals = new Map<string, Float64Array>();
    const encoded = task.examples.slice(0, examples).map((example) => encode(model, tokenizer, task, example));
    for (let start = 0; start < encoded.length; start += batchSize) {
      throwIfStopped(signal, "evaluation");
      await addRoutes(totals, model, encoded.slice(start, start + batchSize), experts.length);
    }
    const modules = [...totals].map(([module, sums]) => ({ module, use: normalized(sums) }));
    used.push({ task: task.name, modules });
  }
  return { experts, tasks: used };
}

interface Encoded {
  readonly input: readonly number[];
  readonly output: readonly number[];
}

function encode(model: Model, tokenizer: Tokenizer, task: Task, { input, target, isRendered }: Task["examples"][number]): Encoded {
  const { architecture } = model.base;
  const context = encodeContext(tokenizer, architecture, input, { maxTokens: task.maxInputTokens, isRendered });
  const answer = encodeAnswer(tokenizer, architecture, { prompt: input, answer: task.targetDelimiter + target, isRendered });
  if (architecture.kind === "decoder-only")
    return { input: lastOf([...context, ...answer.slice(0, -1)], longestSequence(model)), output: [] };
  return { input: context, output: [architecture.decoderStartId, ...answer.slice(0, -1)] };
}

async function addRoutes(totals: Map<string, Float64Array>, model: Model, rows: readonly Encoded[], experts: number): Promise<void> {
  const { architecture } = model.base;
  const inputs = padded(rows.map(({ input }) => input));
  const outputs = architecture.kind === "encoder-decoder" ? padded(rows.map(({ output }) => output)) : undefined;
  const batch = { inputIds: inputs.ids, attentionMask: inputs.mask, ...(outputs && { decoderInputIds: outputs.ids }) };
  const { routes } = await model.runner.forward(model.woven, batch, { routes: true });
  const ofOutput = outputs ? outputModules(architecture) : new Set<string>();
  for (const [module, route] of routes ?? []) {
    const sums = totals.get(module) ?? new Float64Array(experts);
    totals.set(module, sums);
    addWeights(sums, route, (outputs && ofOutput.has(module) ? outputs : inputs).mask.data);
  }
}

/** Adds the weights of real tokens. */
function addWeights(sums: Float64Array, { experts, weights }: HostRoute, mask: BigInt64Array): void {
  const k = experts.shape[2]!;
  mask.forEach((real, token) => {
    if (real === 0n) return;
    for (let j = 0; j < k; j++) sums[Number(experts.data[token * k + j])]! += weights.data[token * k + j]!;
  });
}

function normalized(sums: Float64Array): number[] {
  const total = sums.reduce((sum, value) => sum + value, 0);
  return [...sums].map((value) => (total > 0 ? value / total : 0));
}

/** Mean over modules of their use: [experts]. */
export function meanUse(modules: readonly ModuleUse[]): number[] {
  const [first] = modules;
  if (!first) return [];
  return first.use.map((_, expert) => modules.reduce((sum, { use }) => sum + use[expert]!, 0) / modules.length);
}

/** -sum p log p / log n, between 0 and 1. */
export function entropyOf(use: readonly number[]): number {
  if (use.length < 2) return 0;
  return use.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0) / Math.log(use.length);
}
