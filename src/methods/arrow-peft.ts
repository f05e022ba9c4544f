/** @file Arrow with PEFT's defaults (arrow.ts has the equations). */

import * as z from "zod";
import type { Router } from "../routing/router.ts";
import { arrow } from "./arrow.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { general, scored } from "./options.ts";

const options = z.strictObject({
  ...scored({ topK: 3, temperature: 1, scaleBySqrt: false }),
  seed: z.int().min(0).max(0xffffffff).default(42).meta({ description: "PEFT's rng_seed." }),
  general,
});

function arrowPeft({ general: _, seed, ...rest }: z.output<typeof options>): Router {
  return arrow({ ...rest, name: "arrow-peft", prototype: { kind: "power", seed } });
}

export const arrowPeftMethod = method({
  name: "arrow-peft",
  description: "Arrow as PEFT has it.",
  needs: "LoRA experts",
  options,
  router: (given) => (given.general ? undefined : arrowPeft(given)),
  open: (setting, given) => openRouter(setting, arrowPeft(given), given.general),
});
