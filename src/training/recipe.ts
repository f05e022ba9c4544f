/** @file The options of a training run. Defaults are the PHATGOOSE recipe (Muqeeth et al. 2024; r-three/phatgoose,
 *  colm/models/moe_lora_rank16.gin, src/procedures/train.gin): AdamW at 5e-3, warm-up over 6 % of the steps, then constant,
 *  batches of 1024 sequences of at most 512 tokens, clipping at 1. */

import * as z from "zod";
import { BOTTLENECK_ACTIVATIONS, BOTTLENECK_PLACEMENTS } from "../adapters/adapter.ts";
import { OptionError } from "../base/errors.ts";
import { scheduleSchema } from "./schedule.ts";

const steps = z.int().min(0).meta({ description: "Optimizer steps." });
const common = {
  batchSize: z.int().min(1).default(1024).meta({ description: "Sequences per step." }),
  microBatchSize: z.int().min(1).default(32).meta({ description: "Sequences per pass; a batch is accumulated from these." }),
  lr: z.number().positive().default(5e-3).meta({ description: "Learning rate after warm-up.", value: "rate" }),
  schedule: scheduleSchema
    .default({ kind: "constant", warmupRatio: 0.06 })
    .meta({ description: "How the learning rate goes on after warm-up." }),
  clip: z.number().positive().default(1).meta({ description: "Largest global norm of the gradients.", value: "norm" }),
  weightDecay: z.number().min(0).default(0).meta({ description: "AdamW's weight decay.", value: "w" }),
  dropout: z
    .number()
    .min(0)
    .max(0.9)
    .optional()
    .meta({ description: "Share of activations that are dropped.", value: "p", unset: "what the model's configuration says" }),
  maxLength: z.int().min(2).default(512).meta({ description: "Longest input and longest target, in tokens." }),
  packing: z.boolean().default(false).meta({ description: "Put several short examples into one row (decoder-only models)." }),
  seed: z.int().default(42).meta({ description: "Decides data order, dropout and first values." }),
  validateEvery: z
    .int()
    .min(0)
    .default(100)
    .meta({ description: "Steps between validations, of which the best state is kept; 0: keep the last state." }),
  saveEvery: z.int().min(1).default(100).meta({ description: "Steps between saves to resume from." }),
};

export const expertRecipe = z.strictObject({
  ...common,
  steps: steps.default(1000),
  kind: z
    .enum(["lora", "ia3", "bottleneck"])
    .default("lora")
    .meta({ description: "What is trained: lora, ia3 or bottleneck.", value: "kind" }),
  rank: z.int().min(1).default(16).meta({ description: "Rank of the LoRA, or width of the bottleneck.", value: "r" }),
  alpha: z
    .number()
    .positive()
    .default(1)
    .meta({ description: "Its scaling is alpha / rank; the authors' 1 / rank is alpha 1.", value: "a" }),
  targets: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .meta({
      description: "Modules to adapt, as PEFT's target_modules: names, a regular expression, or all-linear.",
      value: "names",
      unset: "every projection but the head",
    }),
  activation: z
    .enum(BOTTLENECK_ACTIVATIONS)
    .default("relu")
    .meta({ description: "Of a bottleneck: relu, gelu_new or silu.", value: "name" }),
  placement: z
    .enum(BOTTLENECK_PLACEMENTS)
    .default("parallel")
    .meta({ description: "Whether a bottleneck reads its module's input (parallel) or output.", value: "where" }),
});
/** Gates: 100 steps; the last state is kept. */
export const gateRecipe = z.strictObject({ ...common, steps: steps.default(100), validateEvery: common.validateEvery.default(0) });
export const fullRecipe = z.strictObject({ ...common, steps: steps.default(1000), lr: common.lr.default(1e-3) });

/** Routers and LoRAs of a Mixture-of-LoRAs model. The paper (arXiv:2403.03432) gives none of these numbers. */
export const moaRecipe = z.strictObject({
  ...common,
  steps: steps.default(300).meta({ description: "Optimizer steps of the routers." }),
  lambda: z.number().min(0).default(1).meta({ description: "Factor on the routers' loss, which compares them with the domain." }),
  pooling: z
    .enum(["mean", "last"])
    .default("mean")
    .meta({ description: "What routers read of the prompt: its mean, or its last token.", value: "how" }),
  states: z.enum(["base", "adapted"]).default("base").meta({
    description: "Whose states routers read: the base model's, or those adapted by the domain's LoRA.",
    value: "whose",
  }),
  freezeLoras: z.boolean().default(false).meta({ description: "Train the routers alone in the second stage." }),
  labels: z.boolean().default(true).meta({
    description: "Routers learn which domain a text is of.",
    off: "Routers learn from the text alone, on adapted states (an ablation).",
  }),
});

/** How several experts train at once. */
export const togetherOptions = z.strictObject({
  atOnce: z.int().min(1).default(4).meta({ description: "Experts in one pass; the others wait until one has ended." }),
});

/** Options of `trainExpert`; all may be left out. */
export type ExpertOptions = z.input<typeof expertRecipe>;
/** Options of `trainGate`; all may be left out. */
export type GateOptions = z.input<typeof gateRecipe>;
/** Options of `trainFull`; all may be left out. */
export type FullOptions = z.input<typeof fullRecipe>;
/** Options of `trainMoa` and `addDomain` for their second stage; all may be left out. */
export type MoaOptions = z.input<typeof moaRecipe>;
export type ExpertRecipe = z.infer<typeof expertRecipe>;
export type GateRecipe = z.infer<typeof gateRecipe>;
export type FullRecipe = z.infer<typeof fullRecipe>;
export type MoaRecipe = z.infer<typeof moaRecipe>;
export type CommonRecipe = z.infer<z.ZodObject<typeof common>> & { readonly steps: number };

/** Parses options; one error lists all problems. */
export function parseRecipe<T>(schema: z.ZodType<T>, options: unknown): T {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  throw new OptionError({
    code: "option-invalid",
    what: `Training options: ${z.prettifyError(result.error)}`,
    fix: "The recipe's schema lists the options and their defaults.",
  });
}
