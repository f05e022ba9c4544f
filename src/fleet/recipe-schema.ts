/** @file What a pool's recipe may say: one YAML file from which every expert, its gates and statistics, the pool and its evaluation follow.
 *
 *      name: my-pool
 *      base: google/t5-xl-lm-adapt
 *      training: { steps: 1000, rank: 16 }          # options of an expert's training, for all
 *      gates: { steps: 100 }                        # or false
 *      statistics: { examples: 1000 }               # or false
 *      defaults: { split: train, limit: 500000 }    # any field of an expert, for all
 *      experts:
 *        - name: mrpc
 *          dataset: glue
 *          config: mrpc
 *          templates: { path: glue/mrpc }
 *          training: { microBatchSize: 32 }
 *          validation: { split: validation, templates: { use: original, roundRobin: true } }
 *        - name: own
 *          files: [own.jsonl]
 *      evaluation:
 *        heldOut: [../benchmarks/bbh.yaml]
 *        methods: [base, merged, phatgoose]
 *
 *  Paths are relative to the recipe's folder. */

import * as z from "zod";
import { expertRecipe, gateRecipe, moaRecipe } from "../training/recipe.ts";
import { statisticsOptions } from "../training/statistics.ts";

const templatesSchema = z.strictObject({
  from: z.enum(["promptsource", "p3"]).optional().meta({
    description:
      "promptsource: templates.yaml below promptsource/ in the data folder (the default). p3: the prepared text of bigscience/P3.",
  }),
  path: z.string().optional().meta({ description: "Path of the dataset's templates, such as glue/mrpc." }),
  use: z.enum(["all", "original"]).optional().meta({ description: "All templates (the default), or only those of the original task." }),
  only: z.array(z.string()).min(1).optional().meta({ description: "Names of the only templates to use." }),
  ignore: z.array(z.string()).optional().meta({ description: "Names of templates to leave out." }),
  roundRobin: z.boolean().optional().meta({ description: "One template for each row, in turn, instead of every template for every row." }),
});

/** Where examples come from: one of `files`, `dataset` and `demo`. */
const sourceFields = {
  files: z.array(z.string()).min(1).optional().meta({ description: "Data files: JSONL, JSON, CSV, TSV or Parquet, plain or gzipped." }),
  dataset: z.string().optional().meta({ description: "A dataset: looked for in the data folder, then on the Hub." }),
  config: z.string().optional().meta({ description: "The dataset's configuration." }),
  revision: z.string().optional().meta({ description: "A branch, tag or commit on the Hub." }),
  folders: z
    .array(z.string())
    .min(1)
    .optional()
    .meta({ description: "Only these folders of the dataset; its files are read one after another, in parts." }),
  split: z.string().optional().meta({ description: "The dataset's split; train where nothing is said." }),
  where: z
    .record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]))
    .optional()
    .meta({ description: "Only rows whose fields have these values." }),
  group: z.string().optional().meta({ description: "A group of values for `where`, from the recipe's `groups` file." }),
  demo: z.string().optional().meta({ description: "A task, or a domain, of the demo: its generator makes the examples." }),
  templates: templatesSchema.optional().meta({ description: "Templates that turn the dataset's rows into examples." }),
  rows: z.int().min(1).optional().meta({ description: "Rows that are read at most, before templates." }),
  limit: z.int().min(1).optional().meta({ description: "Examples at most: chosen by the seed where there are more." }),
};

const gates = z.union([z.literal(false), z.strictObject(gateRecipe.shape).partial()]);
const statistics = z.union([
  z.literal(false),
  z.strictObject({
    ...statisticsOptions.partial().shape,
    examples: z.int().min(1).optional().meta({ description: "Training examples that are looked at, the first of them." }),
  }),
]);

const label = z
  .string()
  .regex(/^[\w-]+$/)
  .optional();

const expertFields = {
  ...sourceFields,
  label: label.meta({ description: "On several machines: only workers with this label take the expert's job." }),
  validation: z
    .union([z.literal(false), z.strictObject(sourceFields)])
    .optional()
    .meta({ description: "Examples to select the best state by: what differs from the training examples. false: none." }),
  holdout: z.int().min(1).optional().meta({
    description: "Training examples that are set aside, by the seed, to select the best state by: for data without a validation split.",
  }),
  training: expertRecipe.partial().optional().meta({ description: "Options of this expert's training." }),
  gates: gates.optional().meta({ description: "Options of this expert's gates; false: none." }),
  statistics: statistics.optional().meta({ description: "Options of this expert's statistics; false: none." }),
};
const expertSchema = z.strictObject({ name: z.string().meta({ description: "The expert's name in the pool." }), ...expertFields });

const evaluationSchema = z.strictObject({
  tasks: z.array(z.string()).optional().meta({ description: "Task files, folders and benchmark recipes." }),
  heldOut: z.array(z.string()).optional().meta({ description: "Tasks that no expert was trained on, averaged apart." }),
  demo: z.int().min(1).optional().meta({ description: "The demo's tasks, with so many test examples each." }),
  methods: z.array(z.string()).min(1).optional().meta({ description: "What is compared, as names of methods with their options." }),
  limit: z.int().min(1).optional().meta({ description: "Examples of each task at most." }),
  shots: z.int().min(1).optional().meta({ description: "Examples of each task set aside, labeled, for methods that learn from a few." }),
  batchSize: z.int().min(1).optional().meta({ description: "Rows side by side." }),
  label: label.meta({ description: "On several machines: only workers with this label take the jobs of the evaluation." }),
});

export const poolRecipeSchema = z.strictObject({
  name: z.string().meta({ description: "The pool's name." }),
  description: z.string().optional().meta({ description: "What the pool is, and whose recipe." }),
  base: z.string().meta({ description: "The base model: a folder or a Hugging Face id." }),
  baseName: z.string().optional().meta({ description: "What the experts' cards call the base, where it is a folder." }),
  parameters: z.number().positive().optional().meta({ description: "Weights of the base, for estimates before it is downloaded." }),
  data: z.string().optional().meta({ description: "The folder of datasets and templates; the folder data where nothing is said." }),
  groups: z.string().optional().meta({ description: "A JSON file of named groups of values: { group: [value, ...] }." }),
  seed: z.int().min(0).optional().meta({
    description: "Each expert's own seed follows from this and its name. Without it all have the seed of the training options.",
  }),
  training: expertRecipe.partial().optional().meta({ description: "Options of training, for all experts." }),
  gates: gates.optional().meta({ description: "Options of gates, for all experts; false: none." }),
  statistics: statistics.optional().meta({ description: "Options of statistics, for all experts; false: none." }),
  moa: moaRecipe.partial().optional().meta({ description: "Makes a Mixture-of-LoRAs model of the experts: options of its routers." }),
  defaults: z.strictObject(expertFields).optional().meta({ description: "Any field of an expert, for all experts." }),
  experts: z.array(expertSchema).min(1).meta({ description: "The experts, in the pool's order." }),
  evaluation: evaluationSchema.optional().meta({ description: "What the pool is compared on, and how." }),
});

export type RawRecipe = z.input<typeof poolRecipeSchema>;
export type Templates = z.infer<typeof templatesSchema>;
export type EvaluationPlan = z.infer<typeof evaluationSchema>;
type SourceFields = { readonly [K in keyof typeof sourceFields]: z.infer<(typeof sourceFields)[K]> };
/** Where examples come from, with absolute paths. */
export type Source = Partial<SourceFields>;
