/** @file What the rows of one batch choose by, each for itself: any mixture of methods that choose for a whole row.
 *
 *      rowsOf([openRows, namedExperts(["law"]), retrievalRows(embedder)])     a batch of three rows
 *
 *  Each is a bias [batch, experts] of 0 and BARRED added to the router's scores, so the batch stays one run. */

import type { Expert } from "../adapters/expert.ts";
import { OptionError } from "../base/errors.ts";
import { float32 } from "../base/tensor.ts";
import { BARRED } from "../routing/router.ts";
import type { RowBias } from "./overlay.ts";

/** Only the experts of these names may serve. */
export function namedExperts(names: readonly string[]): RowBias {
  return async ({ inputIds }, experts) => {
    checkNames(names, experts);
    const row = experts.map(({ name }) => (names.includes(name) ? 0 : BARRED));
    const batch = inputIds.shape[0]!;
    return float32([batch, experts.length], Array<number[]>(batch).fill(row).flat());
  };
}

/** Row i of every batch chooses as `rows[i]` does. */
export function rowsOf(rows: readonly RowBias[]): RowBias {
  return async (prompts, experts) => {
    const [batch = 0] = prompts.inputIds.shape;
    if (batch !== rows.length) {
      throw new OptionError({ what: `${rows.length} rows choose, and the batch has ${batch}.`, fix: "Give one choice per row." });
    }
    const results = new Map<RowBias, Float32Array>();
    for (const choose of new Set(rows)) results.set(choose, (await choose(prompts, experts)).data);
    const width = experts.length;
    const parts = rows.map((choose, i) => [...results.get(choose)!.subarray(i * width, (i + 1) * width)]);
    return float32([batch, width], parts.flat());
  };
}

function checkNames(names: readonly string[], experts: readonly Pick<Expert, "name">[]): void {
  const unknown = names.find((name) => !experts.some((expert) => expert.name === name));
  if (unknown === undefined) return;
  const fix = `Use one of: ${experts.map(({ name }) => name).join(", ")}.`;
  throw new OptionError({ what: `There is no expert "${unknown}" to choose.`, fix });
}
