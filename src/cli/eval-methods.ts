/** @file The methods of `skein eval`, by their names on the command line. */

import { OptionError } from "../base/errors.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import type { Model } from "../inference/model.ts";
import { type CommonFlags, type Io, warn } from "./io.ts";

export interface MethodFlags extends CommonFlags {
  readonly pool?: string | undefined;
  readonly adapter?: readonly string[] | undefined;
  readonly methods?: readonly string[] | undefined;
  readonly routers?: readonly string[] | undefined;
  readonly topK?: number | undefined;
}

const READ_OFF = ["base", "experts", "merged", "best_individual", "oracle"] as const;
const isReadOff = (name: string): name is (typeof READ_OFF)[number] => READ_OFF.some((known) => known === name);

/** The default methods: all that cost no more than the single experts, and the pool's own router. */
export async function namesOf({ pool, methods, routers }: MethodFlags): Promise<string[]> {
  if (pool === undefined && routers) {
    throw new OptionError({
      code: "option-needs-pool",
      data: { options: ["routers"] },
      what: "Routers are given without a pool.",
      where: "--routers",
      fix: "Name the pool with --pool.",
    });
  }
  const usual = async () => (pool === undefined ? ["base"] : [...READ_OFF, ...(routers ? [] : [await ownMethod(pool)])]);
  return [...new Set([...(methods ?? (await usual())), ...(routers ?? [])])];
}

async function ownMethod(pool: string): Promise<string> {
  const { readMoa } = await import("../storage/moa.ts");
  const { defaultMethod } = await import("../methods/registry.ts");
  return defaultMethod({ moa: () => readMoa(pool) });
}

/** The methods with these names. Any other name is a routing method with its options. */
export async function methodsOf({ topK }: MethodFlags, names: readonly string[]): Promise<Method[]> {
  const { refuses } = await import("../methods/registry.ts");
  return names.map((name): Method => {
    if (isReadOff(name)) return { kind: name };
    if (name === "lorahub") return { kind: "lorahub" };
    return { kind: "router", router: name, ...(topK && !refuses(name, "topK") && { topK }) };
  });
}

/** The adapters of --adapter, each as a separate method. */
export async function adaptersOf(io: Io, flags: MethodFlags, model: Model): Promise<Method[]> {
  const { loadAdapter } = await import("../storage/peft.ts");
  const base = await model.base.fingerprint();
  const methods: Method[] = [];
  for (const name of flags.adapter ?? []) {
    const adapter = await loadAdapter(name, model.base.modules, { fingerprint: base });
    warn(io, flags, adapter.warnings);
    methods.push({ kind: "adapter", name, adapter });
  }
  return methods;
}
