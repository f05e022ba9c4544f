/** @file A trace: the experts of each token of a prompt and its completion, at every module. */

import { invariant, OptionError } from "../../base/errors.ts";
import { type CompletionEvent, generate } from "../../generation/generate.ts";
import type { GenerationOptions } from "../../generation/options.ts";
import type { Routes } from "../../generation/routes.ts";
import { createGraph } from "../../graph/graph.ts";
import type { Model } from "../../inference/model.ts";
import type { Architecture } from "../../models/architecture.ts";
import { logitsOf, outline } from "../../models/logits.ts";
import { promptIds } from "../../text/prompt-ids.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

/** One module's route of every token: [token][k], best first. */
export interface ModuleTrace {
  readonly module: string;
  readonly experts: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
}
/** Tokens that use the same modules: a whole text, or the encoder's or decoder's part of it. */
export interface TracedTokens {
  readonly name: "text" | "input" | "output";
  readonly tokens: readonly string[];
  readonly modules: readonly ModuleTrace[];
}
/** A prompt, its completion, and which experts served which of their tokens. */
export interface Trace {
  readonly prompt: string;
  readonly completion: string;
  /** Names, in the order of the indices in routes. */
  readonly experts: readonly string[];
  readonly parts: readonly TracedTokens[];
}

/** Generates from `prompt` and keeps every route. A decoder's row has the token that it generated as its label. */
export async function trace(model: Model, tokenizer: Tokenizer, prompt: string, options: GenerationOptions = {}): Promise<Trace> {
  const { experts } = model.woven;
  if (experts.length === 0)
    throw new OptionError({
      code: "option-needs-pool",
      data: { options: ["pool"] },
      what: "Nothing is routed.",
      fix: "Open the model with a `pool` of experts.",
    });
  const chosen: number[] = [];
  let done: CompletionEvent | undefined;
  for await (const event of generate(model, tokenizer, prompt, { ...options, n: 1, routes: true })) {
    if (event.kind === "token") chosen.push(event.id);
    else done = event;
  }
  invariant(done?.routes, "generation with routes gives routes");
  const input = promptIds(tokenizer, model.base.architecture.kind, prompt);
  const parts = partsOf(model.base.architecture, done.routes, input, chosen);
  const text = (ids: readonly number[]) => ids.map((id) => tokenizer.tokenText(id));
  return { prompt, completion: done.text, experts, parts: parts.map(({ ids, ...part }) => ({ ...part, tokens: text(ids) })) };
}

function partsOf(architecture: Architecture, routes: Routes, input: readonly number[], chosen: readonly number[]) {
  const traces = [...routes].map(([module, { experts, weights }]): ModuleTrace => {
    const k = experts.shape[2]!;
    const rows = (values: readonly number[]) => Array.from({ length: values.length / k }, (_, i) => values.slice(i * k, (i + 1) * k));
    return { module, experts: rows(Array.from(experts.data, Number)), weights: rows([...weights.data]) };
  });
  if (architecture.kind === "decoder-only") return [{ name: "text" as const, ids: [...input, ...chosen.slice(0, -1)], modules: traces }];
  const output = outputModules(architecture);
  return [
    { name: "input" as const, ids: [...input], modules: traces.filter(({ module }) => !output.has(module)) },
    { name: "output" as const, ids: chosen, modules: traces.filter(({ module }) => output.has(module)) },
  ];
}

/** The modules of an encoder-decoder that see the decoder's tokens. */
export function outputModules(architecture: Architecture): ReadonlySet<string> {
  const modules = new Set<string>();
  const graph = createGraph("trace");
  const parts = outline(graph);
  logitsOf(graph, architecture, {
    ...parts,
    linear: (x, module, projection) => {
      if (x.shape[1] === "targets") modules.add(module);
      return parts.linear(x, module, projection);
    },
  });
  return modules;
}

/** The expert with the most weight on each token, over all of a part's modules. */
export function expertsOfTokens({ tokens, modules }: TracedTokens): number[] {
  return tokens.map((_, token) => {
    const totals = new Map<number, number>();
    for (const { experts, weights } of modules) {
      for (const [i, expert] of (experts[token] ?? []).entries()) totals.set(expert, (totals.get(expert) ?? 0) + weights[token]![i]!);
    }
    return [...totals].reduce((best, entry) => (entry[1] > best[1] ? entry : best), [0, 0] as const)[0];
  });
}
