/** @file The registry of routing methods.
 *
 *  As text, a method is its name, or its name with options: "arrow", "arrow:temperature=1,scaleBySqrt=false". */

import * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import { counted } from "../base/counted.ts";
import { OptionError } from "../base/errors.ts";
import type { Woven } from "../inference/woven.ts";
import type { Router } from "../routing/router.ts";
import { arrowMethod } from "./arrow.ts";
import { arrowPeftMethod } from "./arrow-peft.ts";
import { averageActivationMethod } from "./average-activation.ts";
import { mergedMethod } from "./merged.ts";
import type { MethodSetting, PoolParts, RoutingMethod } from "./method.ts";
import { moaMethod } from "./moa.ts";
import { phatgooseMethod } from "./phatgoose.ts";
import { retrievalMethod } from "./retrieval.ts";
import { singleMethod } from "./single.ts";
import { smearMethod } from "./smear.ts";
import { spectrMethod } from "./spectr.ts";
import { uniformMethod } from "./uniform.ts";

/** Every method. Of those that are a pool's default, the last is taken. */
export const METHODS: readonly RoutingMethod[] = [
  phatgooseMethod,
  averageActivationMethod,
  arrowMethod,
  arrowPeftMethod,
  spectrMethod,
  uniformMethod,
  singleMethod,
  smearMethod,
  mergedMethod,
  retrievalMethod,
  moaMethod,
];

/** A method by its name, with all of its options: plain data. */
export interface MethodChoice {
  readonly kind: string;
  readonly [option: string]: unknown;
}

/** All names of methods, including their other names. */
export const METHOD_NAMES: readonly string[] = METHODS.flatMap(({ name, otherNames = {} }) => [name, ...Object.keys(otherNames)]);

/** The default method of a pool.
 *  @throws PoolError for routers beside the pool that cannot be read. */
export async function defaultMethod(pool: PoolParts): Promise<string> {
  for (const { name, isDefaultFor } of METHODS.toReversed()) if (await isDefaultFor?.(pool)) return name;
  throw new OptionError({
    code: "option-empty",
    data: { option: "router" },
    what: "No method is the default of this pool.",
    fix: `Use one of: ${METHOD_NAMES.join(", ")}.`,
  });
}

/** The router that compares experts by default: phatgoose where every expert has gates, else arrow, which needs none. */
export function usualRouter(experts: readonly Pick<Expert, "gates">[]): string {
  return experts.every(({ gates }) => gates) ? phatgooseMethod.name : arrowMethod.name;
}

/** Whether the method that `text` names has this option. */
export function hasOption(text: string, option: string): boolean {
  return option in named(text).method.options.shape;
}

/** Whether the method that `text` names works with a part of the pool. */
export function takesPartOfPool(text: string): boolean {
  return named(text).method.hasFixedExperts !== true;
}

/** Whether the method that `text` names chooses one expert for each row. */
export function takesOneExpert(text: string): boolean {
  return named(text).method.takesOneExpert === true;
}

/** Whether the method that `text` names holds experts in float32, whatever the precision of their files. */
export function widensExperts(text: string): boolean {
  return named(text).method.widensExperts === true;
}

/** Whether the method that `text` names refuses a common option. */
export function refuses(text: string, option: "topK" | "rows"): boolean {
  return named(text).method.refuses?.[option] !== undefined;
}

/** The method that `text` names, with its options. Absent options have their defaults; `given` options override those in the text. */
export function parsedMethod(text: string, given: Readonly<Record<string, unknown>> = {}): MethodChoice {
  const { method, own } = named(text);
  const asked = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  for (const option of Object.keys(asked)) if (!(option in method.options.shape)) throw notFor(method, option);
  const [, ...rest] = text.split(":");
  const result = method.options.safeParse({ ...own, ...assignments(rest.join(":"), method.options.shape), ...asked });
  if (result.success) return { kind: method.name, ...result.data };
  throw new OptionError({
    code: "option-invalid",
    data: { option: "router" },
    what: `Router ${method.name}: ${z.prettifyError(result.error)}`,
    where: "router options",
    fix: "Correct or leave out that option.",
  });
}

/** Weaves the experts into the base with a method.
 *  @throws OptionError for options or rows that the method does not take, PoolError for experts that it cannot choose among. */
export async function openMethod(setting: MethodSetting, choice: MethodChoice): Promise<Woven> {
  const { method, options } = chosen(choice);
  const { experts, rows, onWarning } = setting;
  if (rows && method.refuses?.rows !== undefined) {
    throw new OptionError({
      code: "option-not-for-router",
      data: { options: ["rows"], router: method.name },
      what: method.refuses.rows,
      fix: "Use another router.",
    });
  }
  if (setting.maxResident !== undefined) checkResident(method, setting);
  const { topK } = options;
  if (typeof topK === "number" && topK > experts.length && experts.length > 0) {
    onWarning?.(`The pool has ${counted(experts.length, "expert")}, so top-k is ${experts.length}, not ${topK}.`);
  }
  return method.open(setting, options);
}

function checkResident({ name, takesOneExpert }: RoutingMethod, { rows }: MethodSetting): void {
  if (takesOneExpert && !rows) return;
  const able = METHODS.filter((method) => method.takesOneExpert).map((method) => method.name);
  throw new OptionError({
    code: "option-not-for-router",
    data: { options: ["maxResident"], router: name },
    what: takesOneExpert
      ? "Rows cannot choose their own experts while only a part of the pool is in memory."
      : `Router ${name} mixes experts for every token, so all of them must be in memory.`,
    where: "maxResident",
    fix: takesOneExpert ? "Leave out one of the two options." : `Leave it out, or use one of: ${able.join(", ")}.`,
  });
}

/** A method's note for readers of results. */
export function detailsOf(choice: MethodChoice): Readonly<Record<string, string>> | undefined {
  const { method, options } = chosen(choice);
  return method.details?.(options);
}

/** Anything else that a method's results depend on, besides experts and options; undefined for nothing. */
export async function readBy(choice: MethodChoice, pool: PoolParts): Promise<unknown> {
  return chosen(choice).method.reads?.(pool);
}

/** Whether the method that `text` names scores every expert for every token, so that it has routes. */
export function scoresTokens(text: string): boolean {
  return named(text).method.router !== undefined;
}

/** The router of a method that scores every expert for every token. */
export function routerOfMethod(choice: MethodChoice): Router {
  const { method, options } = chosen(choice);
  const router = method.router?.(options);
  if (router) return router;
  throw new OptionError({
    code: "option-not-for-router",
    data: { options: ["router"], router: method.name },
    what: method.router ? "General experts change the others." : `Router ${method.name} does not score experts token by token.`,
    where: "router",
    fix: "Open the pool with it (loadModel or openMethod), or use another router here.",
  });
}

/** The router that `text` names, of those that score experts. */
export function routerNamed(text: string, given: { readonly topK?: number | undefined } = {}): Router {
  return routerOfMethod(parsedMethod(text, given));
}

/** The chosen method, and its options with their defaults. */
function chosen({ kind, ...options }: MethodChoice): { method: RoutingMethod; options: Record<string, unknown> } {
  const { method, own } = named(kind);
  return { method, options: method.options.parse({ ...own, ...options }) as Record<string, unknown> };
}

function named(text: string): { method: RoutingMethod; own: Readonly<Record<string, unknown>> } {
  const [name = ""] = text.split(":");
  for (const method of METHODS) {
    if (method.name === name) return { method, own: {} };
    const own = method.otherNames?.[name];
    if (own) return { method, own };
  }
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "router", got: name, known: METHOD_NAMES },
    what: `There is no router "${name}".`,
    where: "router",
    fix: `Use one of: ${METHOD_NAMES.join(", ")}.`,
  });
}

function notFor({ name, refuses, options }: RoutingMethod, option: string): OptionError {
  const own = option === "topK" ? refuses?.topK : undefined;
  const those = Object.keys(options.shape);
  return new OptionError({
    code: "option-not-for-router",
    data: { options: [option], router: name },
    what: own ?? `Router ${name} has no option ${option}. It has: ${those.length > 0 ? those.join(", ") : "none"}.`,
    where: option,
    fix: "Leave it out, or use another router.",
  });
}

/** Parses "temperature=1,scaleBySqrt=false". A value is text if its field takes text, else a number or boolean. */
function assignments(text: string, fields: Readonly<Record<string, z.ZodType>>): Record<string, unknown> {
  const parts = text.split(",").filter((part) => part !== "");
  return Object.fromEntries(
    parts.map((part) => {
      const [key = "", ...rest] = part.split("=");
      const value = rest.join("=");
      if (fields[key]?.safeParse(value).success) return [key, value];
      if (value === "true" || value === "false") return [key, value === "true"];
      return [key, value !== "" && Number.isFinite(Number(value)) ? Number(value) : value];
    }),
  );
}
