/** @file A pool's experts under the method that a request names. */

import type { Expert } from "../adapters/expert.ts";
import type { Model } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { namedExperts, openRows } from "../inference/row-choices.ts";
import type { Woven } from "../inference/woven.ts";
import { defaultMethod, openMethod, parsedMethod } from "../methods/registry.ts";
import { readMoa } from "../storage/moa.ts";
import type { Routing } from "./backend.ts";
import { badField } from "./problem.ts";

/** The method of a request as text: "arrow:temperature=1,topK=2". `named`: what the model's name says behind its colon. */
export function methodText({ method, topK, temperature }: Routing, named: string | undefined, standard: string): string {
  if (method !== undefined && named !== undefined && method !== named) {
    throw badField("routing.method", `The model's name says the method already: ${named}.`);
  }
  const text = method ?? named ?? standard;
  const options = { ...(topK !== undefined && { topK }), ...(temperature !== undefined && { temperature }) };
  const added = Object.entries(options).map(([name, value]) => `${name}=${value}`);
  if (added.length === 0) return text;
  return `${text}${text.includes(":") ? "," : ":"}${added.join()}`;
}

/** The method that a pool runs under when none is named. */
export async function standardMethod(directory: string): Promise<string> {
  return defaultMethod({ moa: () => readMoa(directory) });
}

/** What the experts become. */
export async function openedMethod(model: Model, experts: readonly Expert[], directory: string, text: string): Promise<Woven> {
  const { base, runner } = model;
  const woven = await openMethod({ base, runner, experts, where: directory, moa: () => readMoa(directory) }, parsedMethod(text));
  // With choices of rows, requests that restrict the experts, and those of the base and of single experts, share its runs.
  return woven instanceof RoutedPool && !woven.chooseRows && !woven.readsWholeRows ? woven.withRows(openRows) : woven;
}

/** The same, where only these experts may serve. */
export function restricted(woven: Woven, names: readonly string[]): Woven {
  if (!(woven instanceof RoutedPool))
    throw badField("routing.experts", "Experts can be chosen only under a method that scores every token.");
  const unknown = names.find((name) => !woven.experts.includes(name));
  if (unknown !== undefined) throw badField("routing.experts", `There is no expert "${unknown}" in the pool.`);
  if (names.length === 0) throw badField("routing.experts", "Name at least one expert.");
  return woven.withRows(namedExperts(names));
}

/** A snapshot with these experts, made from an older one where that shares buffers; undefined where it has to be opened anew. */
export function updated(woven: Woven, experts: readonly Expert[]): Woven | undefined {
  if (!(woven instanceof RoutedPool)) return undefined;
  const wanted = new Set(experts.map(({ name }) => name));
  let next: RoutedPool = woven;
  for (const expert of experts) if (!next.experts.includes(expert.name)) next = next.with(expert);
  for (const name of next.experts) if (!wanted.has(name)) next = next.without(name);
  return String(next.experts) === String(experts.map(({ name }) => name)) ? next : undefined;
}
