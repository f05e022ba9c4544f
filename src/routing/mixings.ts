/** @file The mixing functions of each kind of adapter. */

import type { Adapter } from "../adapters/adapter.ts";
import { bottleneckMixing } from "./bottleneck-mixing.ts";
import { ia3Mixing } from "./ia3-mixing.ts";
import { loraMixing } from "./lora-mixing.ts";
import type { Mixing } from "./mixing.ts";

type Mixings = { readonly [A in Adapter as A["kind"]]: Mixing<A["modules"] extends ReadonlyMap<string, infer W> ? W : never> };
const MIXINGS: Mixings = { lora: loraMixing, ia3: ia3Mixing, bottleneck: bottleneckMixing };

/** The mixing functions of a kind of adapter. */
export function mixingOf(kind: Adapter["kind"]): Mixing<unknown> {
  return MIXINGS[kind] as Mixing<unknown>;
}
