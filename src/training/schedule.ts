/** @file Learning rate over the steps of a run. */

import * as z from "zod";

export const scheduleSchema = z.discriminatedUnion("kind", [
  z
    .strictObject({
      kind: z.literal("constant"),
      warmupRatio: z.number().min(0).max(1).default(0.06).meta({ description: "Part of the steps in which the rate rises from 0." }),
    })
    .meta({ description: "Linear warm-up, then constant: the PHATGOOSE authors' schedule. Step 0 has rate 0." }),
  z
    .strictObject({ kind: z.literal("linear"), warmupRatio: z.number().min(0).max(1).default(0.06) })
    .meta({ description: "Linear warm-up, then linear decay to 0." }),
  z
    .strictObject({ kind: z.literal("cosine"), warmupRatio: z.number().min(0).max(1).default(0.06) })
    .meta({ description: "Linear warm-up, then a half cosine to 0." }),
]);
export type Schedule = z.infer<typeof scheduleSchema>;

/** The factor on the learning rate at `step` (from 0) of `steps`. Warm-up takes floor(steps * warmupRatio) steps. */
export function rateFactor(schedule: Schedule, step: number, steps: number): number {
  const warmup = Math.floor(steps * schedule.warmupRatio);
  if (step < warmup) return step / warmup;
  if (schedule.kind === "constant") return 1;
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  return schedule.kind === "linear" ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress));
}
