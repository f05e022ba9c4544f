/** @file What to do about a problem, in terms of commands and flags. The library says it in terms of functions and their options;
 *  where a flag is what a person at the keyboard has, its code has a line here. */

import type { DataOf, ErrorCode } from "../base/error-codes.ts";
import type { Problem } from "../base/errors.ts";

type Remedies = { readonly [C in ErrorCode]?: (data: DataOf<C>) => string };

const REMEDIES: Remedies = {
  "checkpoint-is-adapter": () => "This is an adapter: pass its folder as --adapter, and the model it was trained on as the base.",
  "adapter-on-embeddings": () =>
    "Use it on every token (--adapter), merge it (skein merge, or router merged), or train it again without embeddings.",
  "adapter-needs-base": () => "Give the base model (--base DIR); where the tensor equals the base's, the adapter is usable.",
  "adapter-no-architecture": ({ known }) =>
    `Supported model types: ${known.join(", ")}. If its base is one of them, --base DIR tells for certain.`,
  "gates-mismatch": () => "Train the gates for this adapter (skein gate), or copy those that belong to it.",
  "pool-not-found": () => "Make one with: skein pool create.",
  "pool-expert-missing": () => "Restore its folder, or take it out with: skein pool remove.",
};

export type ShownProblem = Pick<Problem, "code" | "what" | "where" | "fix" | "data">;

/** The problem as the command line shows it. */
export function onCommandLine({ code, what, where, fix, data = {} }: Problem): ShownProblem {
  const remedy = code && (REMEDIES[code] as ((data: Problem["data"]) => string) | undefined);
  return { code, what, where: inFlags(where, data), fix: remedy?.(data) ?? fix, data };
}

/** A place that names options names their flags instead. */
function inFlags(where: string | undefined, { option, options = option === undefined ? [] : [option] }: NonNullable<Problem["data"]>) {
  if (where === undefined || options.length === 0 || where !== options.join(", ")) return where;
  return options.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`).join(", ");
}
