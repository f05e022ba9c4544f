/** @file The choices of experts by row: each row of a batch may use another method.
 *
 *      eachRow([ownRows, baseRows, namedExperts(["law"]), retrievalRows(embedder)])     a batch of four rows
 *
 *  A choice is a bias [batch, experts] of 0 and BARRED that is added to the router's scores, so that the batch stays one run. */

import type { Expert } from "../adapters/expert.ts";
import { OptionError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { float32 } from "../base/tensor.ts";
import { BARRED } from "../routing/router.ts";
import type { Prompts } from "./prompts.ts";

/** The bias that each row adds to the scores of the pool's experts: [batch, experts], 0 or BARRED for experts it may not use.
 *  `own`: the choice of the method. */
export type RowChoice = (prompts: Prompts, experts: readonly Expert[], own: RowChoice) => Promise<HostTensor<"float32">>;

/** Every row may use every expert, except where the batch has a bias. */
export const openRows: RowChoice = async ({ inputIds }, experts) => float32([inputIds.shape[0]!, experts.length]);

/** No row uses an expert: the base model alone, in a batch with other rows. */
export const baseRows: RowChoice = async ({ inputIds }, experts) => {
  const [batch = 0] = inputIds.shape;
  return float32([batch, experts.length], Array<number>(batch * experts.length).fill(BARRED));
};

/** Each row uses the choice of the method. */
export const ownRows: RowChoice = (prompts, experts, own) => own(prompts, experts, own);

/** Rows may use only the experts with these names. */
export function namedExperts(names: readonly string[]): RowChoice {
  return async ({ inputIds }, experts) => {
    checkNames(names, experts);
    const row = experts.map(({ name }) => (names.includes(name) ? 0 : BARRED));
    const batch = inputIds.shape[0]!;
    return float32([batch, experts.length], Array<number[]>(batch).fill(row).flat());
  };
}

/** Row i of every batch uses the choice `rows[i]`. */
export function eachRow(rows: readonly RowChoice[]): RowChoice {
  return async (prompts, experts, own) => {
    const [batch = 0] = prompts.inputIds.shape;
    if (batch !== rows.length) {
      throw new OptionError({
        code: "option-count",
        data: { option: "rows", expected: batch, got: rows.length },
        what: `There are ${rows.length} choices, and the batch has ${batch} rows.`,
        fix: "Pass one choice per row.",
      });
    }
    const results = new Map<RowChoice, Float32Array>();
    for (const choose of new Set(rows)) results.set(choose, (await choose(prompts, experts, own)).data);
    const width = experts.length;
    const parts = rows.map((choose, i) => [...results.get(choose)!.subarray(i * width, (i + 1) * width)]);
    return float32([batch, width], parts.flat());
  };
}

function checkNames(names: readonly string[], experts: readonly Pick<Expert, "name">[]): void {
  const unknown = names.find((name) => !experts.some((expert) => expert.name === name));
  if (unknown === undefined) return;
  const fix = `Use one of: ${experts.map(({ name }) => name).join(", ")}.`;
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "experts", got: unknown, known: experts.map(({ name }) => name) },
    what: `The pool has no expert "${unknown}".`,
    fix,
  });
}
