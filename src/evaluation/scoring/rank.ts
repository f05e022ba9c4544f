/** @file Multiple choice: the most likely choice, by four rules.
 *
 *    token_mean   sum / (tokens + 1e-6), end of sequence included    the PHATGOOSE authors' (interface_mixin.py:94-120)
 *    sum          sum                                                the harness's `acc`
 *    characters   sum / characters of the choice                     its `acc_norm`
 *    bytes        sum / UTF-8 bytes of the choice                    its `acc_bytes`
 *
 *  Ties go to the first. Choices may differ in length and number; padding is never chosen. */

import type { Tokenizer } from "../../text/tokenizer.ts";
import { findLabel } from "../tasks/find-label.ts";
import type { Example } from "../tasks/task.ts";
import type { Likelihood } from "./score-tokens.ts";

export type RankRule = "token_mean" | "sum" | "characters" | "bytes";

const EPSILON = 1e-6; // avoids division by zero in the authors' code; it is part of their scores

/** A choice's score under `rule`; larger is better. */
export function choiceScore({ sum, tokens }: Pick<Likelihood, "sum" | "tokens">, choice: string, rule: RankRule): number {
  switch (rule) {
    case "token_mean":
      return sum / (tokens + EPSILON);
    case "sum":
      return sum;
    case "characters":
      return sum / [...choice].length;
    case "bytes":
      return sum / Buffer.byteLength(choice, "utf8");
  }
}

/** Index of the best choice; the first among equal ones. */
export function bestChoice(likelihoods: readonly Pick<Likelihood, "sum" | "tokens">[], choices: readonly string[], rule: RankRule): number {
  const scores = likelihoods.map((likelihood, i) => choiceScore(likelihood, choices[i]!, rule));
  return scores.indexOf(Math.max(...scores));
}

/** The right choices of an example: those in the data, else the one whose tokens agree most with the target's. */
export function rightChoices(
  example: Example,
  tokenizer: Pick<Tokenizer, "encode">,
): { readonly label: number; readonly labels: readonly number[] } {
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
  const label = example.label ?? findLabel(encode(example.target), (example.choices ?? []).map(encode));
  return { label, labels: example.labels ?? [label] };
}
