/** @file The models that requests name, all on one base: the base alone, each expert alone, the pool under a method.
 *
 *      NAME                  the base, or an expert
 *      POOL, POOL:METHOD     the pool's experts, routed for every token: "skills", "skills:arrow", "skills:arrow:topK=1" */

import { realpath } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { longestSequence } from "../evaluation/scoring/length.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { baseRiding, expertRiding } from "../inference/riding.ts";
import type { RoutedPool } from "../inference/routed-pool.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { loadExpert } from "../storage/expert.ts";
import type { NewExpert, ServedModel, Target } from "./backend.ts";
import { methodText, restricted } from "./pool-methods.ts";
import { badField, RequestProblem, unknownModel } from "./problem.ts";
import { now, type PoolMember, type ServedPool } from "./served-pool.ts";

export interface ServedOptions {
  readonly model: Model;
  /** The base's name, and where it was loaded from. */
  readonly id: string;
  readonly root: string;
  readonly pool?: { readonly id: string; readonly served: ServedPool } | undefined;
  /** Methods to list beside the pool's own: any can be asked for. */
  readonly methods?: readonly string[] | undefined;
  /** Adapters are loaded at run time from inside this folder alone. */
  readonly adapterRoot?: string | undefined;
}

export class ServedModels {
  readonly #options: ServedOptions;
  readonly #created = now();
  readonly #adapters = new Map<string, PoolMember>();
  /** One value for an expert, so that requests share a batch. */
  readonly #adapted = new WeakMap<Expert, Woven>();
  /** By the pool that they ride in, and what they are alone. */
  readonly #riders = new WeakMap<RoutedPool, Map<Woven, Woven>>();

  constructor(options: ServedOptions) {
    this.#options = options;
  }

  get pool(): ServedOptions["pool"] {
    return this.#options.pool;
  }

  get list(): readonly ServedModel[] {
    const { id, root, pool, methods = [], model } = this.#options;
    const contextLength = longestSequence(model);
    const shared = { ...(contextLength !== undefined && { contextLength }) };
    const base = { id, kind: "base", root, created: this.#created, ...shared } as const;
    const alone = [...this.#experts()].map(
      ([name, member]): ServedModel => ({ id: name, kind: "expert", parent: id, root: member.root, created: member.created, ...shared }),
    );
    if (!pool) return [base, ...alone];
    const experts = pool.served.members.map(({ expert }) => expert.name);
    const routed = ["", ...methods.map((method) => `:${method}`)].map(
      (method): ServedModel => ({
        id: `${pool.id}${method}`,
        kind: "pool",
        parent: id,
        root: pool.served.directory,
        created: this.#created,
        experts,
        ...shared,
      }),
    );
    return [base, ...(experts.length > 0 ? routed : []), ...alone];
  }

  /** Experts by name: the pool's, then those that stand alone. */
  #experts(): ReadonlyMap<string, PoolMember> {
    const members = this.#options.pool?.served.members ?? [];
    return new Map([...members.map((member) => [member.expert.name, member] as const), ...this.#adapters]);
  }

  /** The model that a request asks for, as it is now. */
  async open({ model: name, routing }: Target): Promise<Model> {
    const { model, id, pool } = this.#options;
    if (pool && (name === pool.id || name.startsWith(`${pool.id}:`))) {
      const text = methodText(routing ?? {}, name.slice(pool.id.length + 1) || undefined, pool.served.standard);
      const woven = await pool.served.opened(text);
      return withWoven(model, routing?.experts ? restricted(woven, routing.experts) : woven);
    }
    const member = this.#experts().get(name);
    if (name !== id && !member)
      throw unknownModel(
        name,
        this.list.map((one) => one.id),
      );
    if (routing && Object.values(routing).some((value) => value !== undefined)) {
      throw badField("routing", `"${name}" is not routed.${pool ? ` Ask for the model "${pool.id}".` : ""}`);
    }
    return withWoven(model, member ? this.#single(member.expert) : this.#plain());
  }

  /** The base, beside the pool's rows where there are any. */
  #plain(): Woven {
    const carrier = this.#options.pool?.served.carrier;
    return carrier ? this.#riding(carrier, plain, () => baseRiding(carrier)) : plain;
  }
  /** One expert, beside the pool's rows if the pool computes it exactly. */
  #single(expert: Expert): Woven {
    const alone = this.#alone(expert);
    const carrier = this.#options.pool?.served.carrier;
    return carrier ? this.#riding(carrier, alone, () => expertRiding(carrier, expert, alone) ?? alone) : alone;
  }
  #riding(carrier: RoutedPool, alone: Woven, made: () => Woven): Woven {
    const known = this.#riders.get(carrier) ?? new Map<Woven, Woven>();
    this.#riders.set(carrier, known);
    const riding = known.get(alone) ?? made();
    known.set(alone, riding);
    return riding;
  }

  #alone(expert: Expert): Woven {
    const woven = this.#adapted.get(expert) ?? singleAdapter(expert.adapter, this.#options.model.base.modules);
    this.#adapted.set(expert, woven);
    return woven;
  }

  /** Adds an adapter that whoever runs the server named. */
  async addNamed(name: string, path: string): Promise<void> {
    this.#refuseTaken(name);
    this.#adapters.set(name, await this.#loaded(name, path, path));
  }

  /** Adds an adapter that a request names. */
  async add({ name, path, joinsPool }: NewExpert): Promise<void> {
    const { pool } = this.#options;
    this.#refuseTaken(name);
    if (!/^[\w.-]{1,128}$/.test(name)) throw badField("lora_name", "A name has letters, digits, dots, dashes and underscores alone.");
    if (joinsPool && !pool) throw badField("join_pool", "No pool is served.");
    const member = await this.#loaded(name, await this.#inside(path), path);
    this.#refuseTaken(name); // another request may have been quicker
    if (joinsPool) await pool!.served.join(member);
    else this.#adapters.set(name, member);
  }

  /** Takes out an adapter that `add` or `addNamed` brought. */
  remove(name: string): void {
    const { pool } = this.#options;
    if (this.#adapters.delete(name)) return;
    const member = pool?.served.members.find(({ expert }) => expert.name === name);
    if (!member)
      throw new RequestProblem({ status: 404, message: `There is no adapter "${name}".`, param: "lora_name", code: "not_found" });
    if (member.sha256 !== undefined) throw badField("lora_name", `"${name}" belongs to the pool's folder: take it out there.`);
    pool!.served.leave(name);
  }

  #refuseTaken(name: string): void {
    const { id, pool } = this.#options;
    const isTaken = name === id || name === pool?.id || this.#experts().has(name);
    if (isTaken)
      throw new RequestProblem({ status: 409, message: `There is a model "${name}" already.`, param: "lora_name", code: "exists" });
  }

  async #loaded(name: string, path: string, root: string): Promise<PoolMember> {
    const { base } = this.#options.model;
    const expert = await loadExpert(path, base.modules, { name, fingerprint: await base.fingerprint() });
    return { expert, root, created: now() };
  }

  /** A folder inside the adapter root, links followed. */
  async #inside(path: string): Promise<string> {
    const { adapterRoot } = this.#options;
    if (adapterRoot === undefined) {
      throw new RequestProblem({
        status: 403,
        message: "This server has no folder to load adapters from.",
        param: "lora_path",
        code: "forbidden",
      });
    }
    const outside = new RequestProblem({
      status: 403,
      message: "lora_path leads out of the adapters' folder, or nowhere.",
      param: "lora_path",
    });
    const root = await realpath(adapterRoot);
    const found = await realpath(resolve(root, path)).catch(() => undefined);
    if (found === undefined) throw outside;
    const inside = relative(root, found);
    if (inside === "" || isAbsolute(inside) || inside.split(sep)[0] === "..") throw outside;
    return found;
  }
}
