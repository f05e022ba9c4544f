/** @file The YAML of a task of lm-evaluation-harness, `include:` followed, checked field by field. */

import { dirname, join } from "node:path";
import { isMap, isScalar, parseDocument, visit } from "yaml";
import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { readUtf8 } from "../../data/rows.ts";
import { dataFilesSchema } from "./dataset-card.ts";
import { exactMatchSchema } from "./filters.ts";
import { TASK_KINDS } from "./task.ts";

const template = z.union([z.string(), z.int(), z.boolean().transform(String)]);

// Known fields without effect on how examples are made or scored.
const ignored = z.unknown().optional();

const summary = { aggregation: ignored, higher_is_better: ignored, hf_evaluate: ignored };
const metric = z.union([
  z.strictObject({ metric: z.literal("exact_match"), ...summary, ...exactMatchSchema.shape }),
  z.strictObject({ metric: z.string().regex(/^(?!exact_match$)/), ...summary }),
]);

const schema = z.strictObject({
  task: z.string(),
  dataset_path: z.string(),
  dataset_name: z.string().nullish(),
  training_split: z.string().nullish(),
  validation_split: z.string().nullish(),
  test_split: z.string().nullish(),
  fewshot_split: z.string().nullish(),
  output_type: z.enum(TASK_KINDS).default("generate_until"),
  doc_to_text: template,
  doc_to_target: z.union([template, z.array(z.string())]),
  doc_to_choice: z.union([z.string(), z.array(z.string()), z.record(z.string(), z.string())]).nullish(),
  description: z.string().default(""),
  target_delimiter: z.string().default(" "),
  fewshot_delimiter: z.string().default("\n\n"),
  num_fewshot: z
    .int()
    .min(0)
    .nullish()
    .transform((count) => count ?? 0),
  fewshot_config: z.strictObject({ sampler: z.enum(["default", "first_n"]).default("default") }).nullish(),
  metric_list: z.array(metric).min(1).nullish(),
  filter_list: z
    .array(z.strictObject({ name: z.string(), filter: z.array(z.unknown()).min(1) }))
    .min(1)
    .nullish(),
  generation_kwargs: z
    .looseObject({
      until: z.union([z.string(), z.array(z.string())]).optional(),
      max_gen_toks: z.int().min(1).optional(),
      do_sample: z.boolean().optional(),
      num_beams: z.int().optional(),
    })
    .nullish(),
  template_aliases: z.literal("").optional(),
  tag: ignored,
  group: ignored,
  task_alias: ignored,
  dataset_kwargs: z
    .strictObject({
      data_files: dataFilesSchema.optional(),
      data_dir: z.string().optional(),
      revision: z.string().optional(),
      // Code of a dataset is never run, even if the file says that it is trusted.
      trust_remote_code: ignored,
    })
    .nullish(),
  repeats: z.literal(1).optional(),
  should_decontaminate: ignored,
  doc_to_decontamination_query: ignored,
  metadata: ignored,
});
export type LmEvalConfig = z.infer<typeof schema>;

/** The checked contents of a task's YAML file. */
export async function readLmEvalConfig(path: string): Promise<LmEvalConfig> {
  const result = schema.safeParse(await readYaml(path, []));
  if (result.success) return result.data;
  throw new DataError({
    code: "task-unsupported",
    what: `This task cannot be evaluated as it is written. ${z.prettifyError(result.error)}`,
    where: path,
    fix: "Fields that are not known here would change the task: write it without them, or prepare the data beforehand.",
  });
}

async function readYaml(path: string, seen: readonly string[]): Promise<Record<string, unknown>> {
  if (seen.includes(path)) {
    throw new DataError({
      code: "task-bad-file",
      what: "The files include each other in a circle.",
      where: path,
      fix: "Break the circle.",
    });
  }
  const document = parseDocument(await readUtf8(path), { logLevel: "silent" });
  const [error] = document.errors;
  if (error || !isMap(document.contents)) {
    throw new DataError({ code: "task-bad-file", what: `Not a YAML mapping. ${error?.message ?? ""}`, where: path, fix: "Mend the YAML." });
  }
  refuseCode(document, path);
  const { include = [], ...own }: Record<string, unknown> = document.toJS();
  const files = z.array(z.string()).parse([include].flat());
  const included = await Promise.all(files.map((file) => readYaml(join(dirname(path), file), [...seen, path])));
  return Object.assign({}, ...included, own);
}

/** Refuses `!function module.name`: it needs Python code, which is not run. */
function refuseCode(document: ReturnType<typeof parseDocument>, path: string): void {
  visit(document, {
    Pair: (_, { key, value }) => {
      if (!isScalar(value) || value.tag !== "!function") return;
      const field = isScalar(key) ? String(key.value) : "a field";
      throw new DataError({
        code: "task-unsupported",
        what: `${field} is the Python function ${String(value.value)}, which cannot be run here.`,
        where: path,
        fix: `Write ${field} as a Jinja template, or prepare the data beforehand and use the jsonl reader.`,
      });
    },
  });
}
