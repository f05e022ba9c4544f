/** @file The ways to answer that a person can choose: the pool under a method, the base, one expert. */

import type { World } from "./backend.ts";
import { poolOf } from "./generate.ts";

export const METHOD_LABELS: Readonly<Record<string, string>> = { "": "the pool's own method", base: "the base alone" };

/** As `Settings.method` writes them. A method may still ask for data that this pool has not; the server says so then. */
export function methodChoices(world: World): { readonly routed: readonly string[]; readonly alone: readonly string[] } {
  const pool = poolOf(world);
  const needsChoice = ({ options }: World["methods"][number]) => options.some(({ isRequired }) => isRequired);
  const routed = pool
    ? ["", ...world.methods.filter((method) => !needsChoice(method)).flatMap(({ name, otherNames }) => [name, ...otherNames])]
    : [];
  const experts = world.models.filter(({ kind }) => kind === "expert").map(({ id }) => `expert ${id}`);
  return { routed, alone: ["base", ...experts] };
}

export function methodName(method: string): string {
  return METHOD_LABELS[method] ?? (method.startsWith("expert ") ? `${method.slice(7)} alone` : method);
}
