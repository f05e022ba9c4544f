/** @file The prompts of a batch, for methods that choose experts from them. */

import { type HostTensor, padded } from "../base/tensor.ts";

/** The prompts of a batch's rows, as token ids. A sequence-level method chooses from them. */
export interface Prompts {
  /** int64 [batch, sequence] */
  readonly inputIds: HostTensor<"int64">;
  /** int64 [batch, sequence], 1 for real tokens. */
  readonly attentionMask: HostTensor<"int64">;
}

/** Prompts of token ids as one batch, padded on the right. */
export function promptsOf(rows: readonly (readonly number[])[]): Prompts {
  const { ids, mask } = padded(rows);
  return { inputIds: ids, attentionMask: mask };
}
