/** @file The numbers of an evaluation for a card, from the results.json of a saved evaluation. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { DataError, messageOf } from "../base/errors.ts";
import { codeOf } from "../checkpoint/atomic.ts";

const schema = z.object({
  tasks: z.array(z.object({ name: z.string(), metrics: z.array(z.string()).min(1) })),
  methods: z.array(
    z.object({
      name: z.string(),
      kind: z.string(),
      tasks: z.record(z.string(), z.object({ metrics: z.record(z.string(), z.object({ value: z.number().nullable() })) })),
    }),
  ),
});

export interface Scores {
  readonly methods: readonly string[];
  /** A value for each method. */
  readonly tasks: readonly { readonly name: string; readonly metric: string; readonly values: readonly (number | undefined)[] }[];
  /** The numbers of what is shared: the pool's first router, or the expert. */
  readonly own: readonly { readonly task: string; readonly metric: string; readonly value: number }[];
  /** The mean over the tasks of each method. */
  readonly means: readonly { readonly name: string; readonly value: number }[];
}

/** Reads `folder`/results.json; undefined where there is none. `own` chooses what is shared among the methods.
 *  @throws DataError for a file of another form. */
export async function readScores(folder: string, own: (method: { name: string; kind: string }) => boolean): Promise<Scores | undefined> {
  const path = join(folder, "results.json");
  let results: z.output<typeof schema>;
  try {
    results = schema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    const what = `This is not the results of an evaluation: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`;
    throw new DataError({ code: "data-bad-json", what, where: path, fix: "Give the folder of an evaluation (`skein/evaluation`).", cause });
  }
  const { methods } = results;
  const tasks = results.tasks.map(({ name, metrics }) => {
    const metric = metrics[0]!;
    const values = methods.map((method) => method.tasks[name]?.metrics[metric]?.value ?? undefined);
    return { name, metric, values };
  });
  const ours = methods.findIndex(own);
  return {
    methods: methods.map(({ name }) => name),
    tasks,
    own: tasks.flatMap(({ name, metric, values }) => (values[ours] === undefined ? [] : [{ task: name, metric, value: values[ours]! }])),
    means: methods.flatMap(({ name }, m) => {
      const known = tasks.flatMap(({ values }) => values[m] ?? []);
      return known.length === 0 ? [] : [{ name, value: known.reduce((sum, value) => sum + value, 0) / known.length }];
    }),
  };
}
