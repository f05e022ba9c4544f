/** @file Super-NaturalInstructions (Wang et al. 2022): one JSON file per task, prompted as Tk-Instruct does.
 *
 *    Definition: ...
 *
 *     Positive Example 1 -
 *    Input: ... / Output: ...
 *
 *    Now complete the following example -
 *    Input: ...
 *    Output:
 *
 *  Every part gets a full stop unless it ends in punctuation. The score is ROUGE-L with stemmer, the best over the outputs. */

import { basename } from "node:path";
import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { parseJson, readUtf8 } from "../../data/rows.ts";
import { ASCII_PUNCTUATION } from "../metrics/python-text.ts";
import type { Example, Task } from "./task.ts";

const shown = z.object({ input: z.string(), output: z.string(), explanation: z.string().optional() });
const schema = z.object({
  Definition: z.union([z.string().transform((text) => [text]), z.array(z.string()).min(1)]),
  Categories: z.array(z.string()).default([]),
  "Positive Examples": z.array(shown).default([]),
  Instances: z
    .array(
      z.object({
        id: z.string().optional(),
        input: z.string(),
        output: z.union([z.string().transform((text) => [text]), z.array(z.string()).min(1)]),
      }),
    )
    .min(1),
});

export interface NaturalInstructionsOptions {
  /** Positive examples shown before the question (default 2, as Tk-Instruct). */
  readonly numPositiveExamples?: number;
}

/** The task of one file of Natural Instructions v2. */
export async function readNaturalInstructionsTask(
  path: string,
  { numPositiveExamples = 2 }: NaturalInstructionsOptions = {},
): Promise<Task> {
  const result = schema.safeParse(parseJson(await readUtf8(path), path));
  if (!result.success) {
    const what = `Not a task of Natural Instructions. ${z.prettifyError(result.error)}`;
    throw new DataError({ code: "task-bad-file", what, where: path, fix: "Give a JSON file with Definition and Instances." });
  }
  const { Definition, Instances, "Positive Examples": positive } = result.data;
  const prefix = `Definition: ${sentence(Definition[0]!)}\n\n${positive.slice(0, numPositiveExamples).map(shownExample).join("")}`;
  const examples = Instances.map(({ id, input, output }): Example => {
    const question = `Now complete the following example -\nInput: ${sentence(input)}\nOutput: `;
    return { input: prefix + question, target: output[0]!, targets: output, ...(id !== undefined && { id }) };
  });
  return {
    name: basename(path).replace(/\.json(\.gz)?$/, ""),
    kind: "generate_until",
    examples,
    metrics: ["rougeL_ni"],
    choiceScore: "token_mean",
    targetDelimiter: "",
    generation: { until: [], maxTokens: 128 }, // Tk-Instruct's max_target_length
  };
}

function shownExample({ input, output }: z.infer<typeof shown>, index: number): string {
  return ` Positive Example ${index + 1} -\nInput: ${sentence(input)}\n Output: ${sentence(output)}\n\n`;
}

function sentence(text: string): string {
  const stripped = text.trim();
  return ASCII_PUNCTUATION.has(stripped.at(-1) ?? "") ? stripped : `${stripped}.`;
}
