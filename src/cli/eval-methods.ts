/** @file The methods of `skein eval` by their names on the command line. */

import type { Expert } from "../adapters/expert.ts";
import { OptionError } from "../base/errors.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import type { Model } from "../inference/model.ts";
import type { DecisionRule } from "../routing/moa-decision.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";

export interface MethodFlags extends CommonFlags {
  readonly pool?: string;
  readonly adapter: readonly string[];
  readonly methods?: readonly string[];
  readonly routers?: readonly string[];
  readonly topK?: number;
}

const READ_OFF = ["base", "experts", "merged", "best_individual", "oracle"] as const;
const isReadOff = (name: string): name is (typeof READ_OFF)[number] => READ_OFF.some((known) => known === name);

/** What to run when nothing is named: everything that costs no more than the single experts do, and the pool's own router. */
export async function namesOf({ pool, methods, routers }: MethodFlags): Promise<string[]> {
  if (pool === undefined && routers) {
    throw new OptionError({
      code: "option-needs-pool",
      data: { options: ["routers"] },
      what: "There are routers, and no pool to route.",
      where: "--routers",
      fix: "Name the pool with --pool.",
    });
  }
  const { hasMoa } = await import("../storage/moa.ts");
  const own = async () => (pool !== undefined && (await hasMoa(pool)) ? ["moa"] : ["phatgoose"]);
  const usual = async () => (pool === undefined ? ["base"] : [...READ_OFF, ...(routers ? [] : await own())]);
  return [...new Set([...(methods ?? (await usual())), ...(routers ?? [])])];
}

/** The methods with these names. A name that is no method of its own is a router with its options. */
export async function methodsOf(flags: MethodFlags, names: readonly string[], model: Model, experts: readonly Expert[]): Promise<Method[]> {
  const { pool, topK } = flags;
  const { DECISION_RULES } = await import("../routing/moa-decision.ts");
  return Promise.all(
    names.map(async (name): Promise<Method> => {
      if (isReadOff(name)) return { kind: name };
      if (name === "lorahub") return { kind: "lorahub" };
      const rule = name === "moa" ? "vote" : DECISION_RULES.find((known) => name === `moa-${known}`);
      if (rule) return moaMethod(name, pool, model, experts, rule);
      return { kind: "router", router: name, ...(topK && { topK }) };
    }),
  );
}

async function moaMethod(
  name: string,
  pool: string | undefined,
  model: Model,
  experts: readonly Expert[],
  rule: DecisionRule,
): Promise<Method> {
  if (pool === undefined)
    throw new OptionError({
      code: "option-needs-pool",
      data: { options: ["methods"] },
      what: `${name} decides among a pool's domains, and there is no pool.`,
      fix: "Name it with --pool.",
    });
  const { moaPoolHash, needMoaPool } = await import("../inference/moa-pool.ts");
  const { MoaWoven } = await import("../inference/moa-woven.ts");
  const { moa, experts: own } = await needMoaPool(model, pool, experts);
  const woven = () => new MoaWoven(model, moa, own, { rule });
  return { kind: "overlay", name, woven, state: `${rule} ${await moaPoolHash(pool)}` };
}

/** The adapters that --adapter names, each a method of its own. */
export async function adaptersOf(io: Io, flags: MethodFlags, model: Model): Promise<Method[]> {
  const { loadAdapter } = await import("../storage/peft.ts");
  const base = await model.base.fingerprint();
  const methods: Method[] = [];
  for (const name of flags.adapter) {
    const adapter = await loadAdapter(name, model.base.modules, { fingerprint: base });
    warn(io, flags, adapter.warnings);
    methods.push({ kind: "adapter", name, adapter });
  }
  return methods;
}
