/** @file The routers by name, with their options: what a command line or a configuration file may ask for. */

import * as z from "zod";
import { OptionError } from "../base/errors.ts";
import { phatgoose } from "./phatgoose.ts";
import type { Router } from "./router.ts";

const topK = z.int().min(1).default(2).meta({ description: "Experts that serve each token at each module." });

export const routerOptions = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("phatgoose"), topK }).meta({ description: "Each expert's trained gate against each token." }),
]);
export type RouterOptions = z.input<typeof routerOptions>;

/** Names that `routerNamed` knows. */
export const ROUTER_NAMES: readonly string[] = routerOptions.options.map((option) => option.shape.kind.value);

/** The router called `name`. Options that are absent take their defaults. */
export function routerNamed(name: string, options: { readonly topK?: number | undefined } = {}): Router {
  if (!ROUTER_NAMES.includes(name)) {
    throw new OptionError({ what: `There is no router "${name}".`, where: "--router", fix: `Use one of: ${ROUTER_NAMES.join(", ")}.` });
  }
  const result = routerOptions.safeParse({ kind: name, ...options });
  if (result.success) return created(result.data);
  throw new OptionError({
    what: `Router ${name}: ${z.prettifyError(result.error)}`,
    where: "router options",
    fix: "Correct or leave out that option.",
  });
}

function created(options: z.output<typeof routerOptions>): Router {
  switch (options.kind) {
    case "phatgoose":
      return phatgoose(options);
  }
}
