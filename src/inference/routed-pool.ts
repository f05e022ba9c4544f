/** @file A pool whose experts a router chooses for every token at every module: an immutable snapshot.
 *
 *      pool.with(expert), pool.without(name)    other snapshots that share the buffers; this one does not change
 *      pool.withRows(choose)                    the same experts, where each row may choose some of them
 *
 *  A snapshot computes exactly the same numbers as a new pool with the same experts. A new graph is needed only for a larger
 *  rank, a new module, the first expert that lacks a module, and another number of experts per token. If a pool has fewer
 *  experts than the router's top-k, it uses all of them. */

import type { Expert } from "../adapters/expert.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { PoolError } from "../base/errors.ts";
import type { Graph } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";
import { factorsKey } from "../routing/factor-stack.ts";
import { ROW_BIAS, routed } from "../routing/mixture.ts";
import type { Router } from "../routing/router.ts";
import { checkKinds, ExpertStack, stackShapes } from "../routing/stack.ts";
import type { Feeds } from "../runtime/session.ts";
import type { Prompts } from "./prompts.ts";
import { openRows, type RowChoice } from "./row-choices.ts";
import { expertIdentity, identityOf, type OnRoute, turnEndsOf, type Woven } from "./woven.ts";

/** Options that decide how the experts of a pool are chosen. */
export interface RoutedPoolOptions {
  readonly router: Router;
  /** The number of experts per token; the router's own number when absent. */
  readonly topK?: number;
  /** The choices of rows; without it, rows choose nothing. */
  readonly rows?: RowChoice | undefined;
  /** The method's own choice, for rows where `rows` leaves the choice to the method; any expert when absent. */
  readonly own?: RowChoice;
  /** Transforms an expert that `with` adds; it is unchanged when absent. */
  readonly joining?: (expert: Expert) => Expert;
}

/** A pool whose experts a router chooses for every token at every module: an immutable snapshot. `model.withWoven(pool)` computes with it. `with` and `without`
 *  return other snapshots that share its buffers. Each computes exactly the same numbers as a new pool.
 *  @throws PoolError for a pool without experts, or experts of several kinds. */
export class RoutedPool implements Woven {
  readonly key: string;
  readonly id: string;
  readonly batch: string;
  readonly #options: RoutedPoolOptions;
  readonly #sizes: ModuleSizes;
  readonly #members: readonly Expert[];
  readonly #stack: ExpertStack;

  constructor(experts: readonly Expert[], sizes: ModuleSizes, options: RoutedPoolOptions, stack?: ExpertStack) {
    if (experts.length === 0)
      throw new PoolError({
        code: "pool-empty",
        what: "The pool has no experts.",
        fix: "Add one with addExpert.",
      });
    const { router, rows } = options;
    this.#options = options;
    this.#sizes = sizes;
    this.#members = experts;
    this.#stack = stack ?? ExpertStack.of(stackShapes(experts, sizes, router), router, experts);
    const shapes = [...this.#stack.modules].map(
      ([module, shape]) => `${module}:${shape.form}:${factorsKey(shape)}:${shape.rows}${shape.barred ? ":barred" : ""}`,
    );
    this.key = `routed ${router.key} k=${this.#k} ${rows ? "rows " : ""}${shapes.join()}`;
    this.batch = `${this.key} ${identityOf(router)} of ${experts.map(expertIdentity).join()}`;
    this.id = rows ? `${this.batch} by ${identityOf(rows)} ${identityOf(options.own ?? openRows)}` : this.batch;
  }

  get #k(): number {
    return Math.min(this.#options.topK ?? this.#options.router.topK, this.#members.length);
  }
  get feeds(): Feeds {
    return this.#stack.feeds;
  }
  get turnEnds(): readonly number[] {
    return turnEndsOf(this.#members);
  }
  get experts(): readonly string[] {
    return this.#stack.names;
  }
  get readsWholeRows(): boolean {
    return this.#options.router.mixes === "parameters";
  }
  get chooseRows(): Woven["chooseRows"] {
    const { rows, own = openRows } = this.#options;
    return rows && (async (prompts: Prompts) => ({ [ROW_BIAS]: await rows(prompts, this.#members, own) }));
  }

  /** With one more expert, as the last. */
  with(brought: Expert): RoutedPool {
    const { joining = (expert) => expert } = this.#options;
    const expert = joining(brought);
    if (this.experts.includes(expert.name)) {
      throw new PoolError({
        code: "pool-expert-exists",
        data: { expert: expert.name },
        what: `The pool already has an expert "${expert.name}".`,
        fix: "Give the new one another name.",
      });
    }
    checkKinds([this.#members[0]!, expert].map(({ name, adapter }) => ({ name, kind: adapter.kind })));
    const stack = this.#stack.fits(expert) ? this.#stack.with(expert) : undefined;
    return new RoutedPool([...this.#members, expert], this.#sizes, this.#options, stack);
  }

  /** Without the expert of this name. */
  without(name: string): RoutedPool {
    const index = this.experts.indexOf(name);
    if (index < 0)
      throw new PoolError({
        code: "pool-expert-unknown",
        data: { expert: name, known: this.experts },
        what: `The pool has no expert "${name}".`,
        fix: `Use one of: ${this.experts.join(", ")}.`,
      });
    if (this.#members.length === 1) {
      throw new PoolError({
        code: "pool-expert-last",
        data: { expert: name },
        what: `"${name}" is the pool's only expert.`,
        fix: "Add another expert first, or use the base model alone.",
      });
    }
    const members = this.#members.filter((_, i) => i !== index);
    return new RoutedPool(members, this.#sizes, this.#options, this.#stack.without(index));
  }

  /** The same experts, where `rows` gives the choices of rows. */
  withRows(rows: RowChoice): RoutedPool {
    return new RoutedPool(this.#members, this.#sizes, { ...this.#options, rows }, this.#stack);
  }

  /** Whether rows of the base and of single experts may share its runs. */
  get takesRiders(): boolean {
    return this.#options.router.mixes === "outputs" && this.#options.rows !== undefined;
  }
  /** Whether a row that may use only this expert computes exactly the expert alone: it is a member as it is, and a candidate at each of
   *  its modules. */
  serves(expert: Expert): boolean {
    const { router } = this.#options;
    const isCandidate = (module: string) => router.prototype(expert, module) !== undefined;
    return this.takesRiders && this.#members.includes(expert) && [...expert.adapter.modules.keys()].every(isCandidate);
  }

  /** The base's projections in a graph, with the mixture of experts added. */
  weave(graph: Graph, inner: Seams, onRoute?: OnRoute): Seams {
    const { router, rows } = this.#options;
    const options = { router, topK: this.#k, modules: this.#stack.modules, rowBias: rows !== undefined };
    return { ...inner, linear: routed(graph, inner.linear, { ...options, ...(onRoute ? { onRoute } : {}) }) };
  }
}
