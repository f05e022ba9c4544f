/** @file Computes with a Mixture-of-LoRAs model (arXiv:2403.03432): a first pass over the prompts chooses domains, a second answers.
 *
 *      pass 1   the prompts through the base model alone (or, for routers trained on adapted states, each layer with the LoRA that
 *               its own router has just chosen) -> every router's scores -> a domain per row, or per row and layer
 *      pass 2   the requested computation, each row with the LoRA of its domain
 *
 *  Pass 1 reads the prompts once, up to the last layer's input, and costs nothing per generated token; with an encoder it
 *  runs only the encoder. Pass 2 cannot use its keys and values, which are those of the base model. A known domain needs no pass 1. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { AdapterError, PoolError } from "../base/errors.ts";
import { type HostTensor, int64 } from "../base/tensor.ts";
import { toFloat } from "../graph/ops/elementwise.ts";
import { concat, expand, gather, integers, reshape, unsqueeze } from "../graph/ops/movement.ts";
import { reduceSum, topK } from "../graph/ops/reduce.ts";

import type { Float, Graph, Int } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";

import { type Linear, weave } from "../models/linear.ts";
import {
  domainDelta,
  type LoraStack,
  oneHot,
  pooled,
  readPrompt,
  routerNames,
  routerOf,
  routerScores,
  stackedLoras,
  stackInputs,
} from "../routing/moa.ts";
import { type Decision, type DecisionRule, decided } from "../routing/moa-decision.ts";
import type { Moa } from "../routing/moa-file.ts";
import type { Route } from "../routing/router.ts";
import type { Feeds } from "../runtime/session.ts";
import type { GraphParts } from "./base.ts";
import type { Model } from "./model.ts";
import type { Prompts } from "./prompts.ts";
import { expertIdentity, identityOf, plain, turnEndsOf, type Woven } from "./woven.ts";

const CHOICE = "moa.choice";

export interface MoaOptions {
  /** Default vote; per-layer for routers that learned without labels, since each of them learned to mix its own layer. */
  readonly rule?: DecisionRule | undefined;
  /** The domain of every row, if it is known. Then no router runs. */
  readonly domain?: string | undefined;
  /** Another function that gives the domain index of each row. */
  readonly dispatcher?: ((prompts: Prompts) => Promise<readonly number[]>) | undefined;
}

/** A MoA model whose experts are in the order of its domains. */
export class MoaWoven implements Woven {
  readonly key: string;
  readonly id: string;
  readonly batch: string;
  readonly experts: readonly string[];
  readonly turnEnds: readonly number[];
  /** The layers that have a router, by their paths. */
  readonly layers: readonly string[];
  readonly feeds: Feeds;
  readonly #model: Model;
  readonly #moa: Moa;
  readonly #members: readonly Expert[];
  readonly #stack: LoraStack;
  readonly #rule: DecisionRule;
  readonly #dispatcher: MoaOptions["dispatcher"];

  constructor(model: Model, moa: Moa, experts: readonly Expert[], { rule, domain, dispatcher }: MoaOptions = {}, stack?: LoraStack) {
    this.#model = model;
    this.#moa = moa;
    this.#members = experts;
    this.layers = [...moa.routers.keys()];
    this.#rule = rule ?? (moa.training.labels === false ? "per-layer" : "vote");
    const known = domain === undefined ? undefined : domainNamed(domain, moa.domains);
    this.#dispatcher = known === undefined ? dispatcher : async ({ inputIds }) => Array<number>(inputIds.shape[0]!).fill(known);
    this.#stack = stack ?? stackedLoras(lorasOf(experts), model.base.modules);
    this.experts = moa.domains;
    this.turnEnds = turnEndsOf(experts);
    this.feeds = { ...Object.fromEntries(this.#stack.tensors), ...routerFeeds(moa) };
    const shapes = [...this.#stack.shapes].map(([module, { rank, scalings }]) => `${module}:${rank}:${scalings}`);
    this.key = `moa ${moa.pooling} ${moa.states} ${moa.domains.length} ${shapes.join()}`;
    this.batch = `${this.key} ${identityOf(moa)} of ${experts.map(expertIdentity).join()}`;
    this.id = `${this.batch} by ${dispatcher ? `another ${identityOf(dispatcher)}` : (domain ?? this.#rule)}`;
  }

  /** The same model with another decision rule. Both share graph, memory and `batch`. */
  withDecision(options: MoaOptions): MoaWoven {
    return new MoaWoven(this.#model, this.#moa, this.#members, options, this.#stack);
  }

  weave(_: Graph, inner: Seams, onRoute?: (module: string, route: Route) => void): Seams {
    const linear = weave(inner.linear, (x, module) => {
      const shape = this.#stack.shapes.get(module);
      if (!shape) return undefined;
      const { graph } = x;
      const [rows] = x.shape;
      const all = graph.int(CHOICE, rows!, this.layers.length);
      const own = gather(all, integers(graph, [routerOf(module, this.layers)]), 1);
      const choice = oneHot(reshape(own, rows!), shape.scalings.length);
      onRoute?.(module, routeOf(own, choice, x));
      return domainDelta(x, choice, stackInputs(graph, module, shape), shape);
    });
    return { ...inner, linear };
  }

  /** The domains of the rows, int64 [batch, layers]. */
  readonly chooseRows = async (prompts: Prompts): Promise<Feeds> => {
    const decisions = await this.decide(prompts);
    const data = decisions.flatMap(({ domains }) => domains);
    return { [CHOICE]: int64([decisions.length, this.layers.length], data) };
  };

  /** The routers' decisions for each prompt. */
  async decide(prompts: Prompts): Promise<Decision[]> {
    if (!this.#dispatcher) return decided(await this.scores(prompts), this.#rule);
    const named = await this.#dispatcher(prompts);
    return named.map((domain) => ({ domains: this.layers.map(() => domain), votes: [] }));
  }

  /** Every router's scores: float32 [batch, layers, domains]. */
  async scores({ inputIds, attentionMask }: Prompts): Promise<HostTensor<"float32">> {
    return this.#model.runner.session(
      { graph: "decide", of: this.key },
      plain,
      (graph, parts) => this.#buildDecide(graph, parts()),
      async (session) => {
        const { scores } = await session.run({ ...this.feeds, input_ids: inputIds, attention_mask: attentionMask });
        return scores as HostTensor<"float32">;
      },
    );
  }

  #buildDecide(graph: Graph, base: GraphParts): void {
    const prompt = toFloat(graph.int("attention_mask", "batch", "sequence"));
    const scores: Float[] = [];
    const enterLayer = (layer: string, x: Float) => {
      const router = this.#moa.routers.get(layer);
      if (!router) return;
      const names = routerNames(layer);
      const [weight, bias] = [graph.float(names.weight, ...router.weight.shape), graph.float(names.bias, ...router.bias.shape)];
      scores.push(routerScores(pooled(x, prompt, this.#moa.pooling), weight, bias));
    };
    const linear = this.#moa.states === "base" ? base.linear : this.#wearing(base.linear, () => scores.at(-1)!);
    readPrompt(graph, this.#model.base.architecture, { ...base, linear, enterLayer });
    graph.output(
      "scores",
      concat(
        scores.map((layer) => unsqueeze(layer, 1)),
        1,
      ),
    );
  }

  /** Each module with the LoRA that has the highest score in its layer. */
  #wearing(inner: Linear, latest: () => Float): Linear {
    return weave(inner, (x, module) => {
      const shape = this.#stack.shapes.get(module);
      if (!shape) return undefined;
      const best = reshape(topK(latest(), 1).indices, x.shape[0]!);
      return domainDelta(x, oneHot(best, shape.scalings.length), stackInputs(x.graph, module, shape), shape);
    });
  }
}

/** The LoRAs of experts. A domain cannot use another kind. */
export function lorasOf(experts: readonly Expert[]): LoraAdapter[] {
  return experts.map(({ name, adapter }) => {
    if (adapter.kind === "lora") return adapter;
    throw new AdapterError({
      code: "adapter-kind",
      data: { kind: adapter.kind },
      what: `Expert "${name}" is of kind ${adapter.kind}; a domain needs a LoRA.`,
      fix: "Train a LoRA for it.",
    });
  });
}

function routerFeeds({ routers }: Moa): Feeds {
  return Object.fromEntries(
    [...routers].flatMap(([layer, { weight, bias }]) => {
      const names = routerNames(layer);
      return [
        [names.weight, weight],
        [names.bias, bias],
      ];
    }),
  );
}

/** One expert for every token of a row, with weight 1. own: int64 [batch, 1] */
function routeOf(own: Int, choice: Float, { shape }: Float): Route {
  const whole = [shape[0]!, shape[1]!, 1] as const;
  return { experts: expand(unsqueeze(own, 2), ...whole), weights: expand(unsqueeze(reduceSum(choice), 2), ...whole) };
}

function domainNamed(name: string, domains: readonly string[]): number {
  const index = domains.indexOf(name);
  if (index >= 0) return index;
  throw new PoolError({
    code: "moa-domain-unknown",
    data: { option: "domain", domain: name, known: domains },
    what: `There is no domain "${name}".`,
    where: "domain",
    fix: `Use one of: ${domains.join(", ")}.`,
  });
}
