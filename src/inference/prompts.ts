/** @file The prompts of a batch, for methods that choose by them. */

import { type HostTensor, padded } from "../base/tensor.ts";

/** The texts a batch's rows start from, as token ids: what a sequence-level method chooses by. */
export interface Prompts {
  /** int64 [batch, sequence] */
  readonly inputIds: HostTensor<"int64">;
  /** int64 [batch, sequence], 1 for real tokens. */
  readonly attentionMask: HostTensor<"int64">;
}

/** Prompts of token ids side by side, padded on the right. */
export function promptsOf(rows: readonly (readonly number[])[]): Prompts {
  const { ids, mask } = padded(rows);
  return { inputIds: ids, attentionMask: mask };
}
