/** @file Helpers of the adapter tests: the modules of two tiny base models, temporary folders, and data that may be absent. */

import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModuleSize, ModuleSizes } from "../src/adapters/modules.ts";

type Sized = [module: string, size: ModuleSize];

/** The Llama of tests/golden/lora_variants and merges. */
export const TINY_LLAMA: ModuleSizes = new Map([
  ["model.embed_tokens", { in: 160, out: 64, embedding: true }],
  ["lm_head", { in: 64, out: 160 }],
  ...[0, 1].flatMap((layer): Sized[] => {
    const [attention, mlp] = [`model.layers.${layer}.self_attn`, `model.layers.${layer}.mlp`];
    return [
      [`${attention}.q_proj`, { in: 64, out: 64 }],
      [`${attention}.k_proj`, { in: 64, out: 32 }],
      [`${attention}.v_proj`, { in: 64, out: 32 }],
      [`${attention}.o_proj`, { in: 64, out: 64 }],
      [`${mlp}.gate_proj`, { in: 64, out: 96 }],
      [`${mlp}.up_proj`, { in: 64, out: 96 }],
      [`${mlp}.down_proj`, { in: 96, out: 64 }],
    ];
  }),
] satisfies Sized[]);

/** The T5 v1.1 of tests/golden/ia3_t5: hidden 64, heads 48 wide, feed-forward 96. */
export const TINY_T5: ModuleSizes = new Map(
  ["encoder", "decoder"].flatMap((stack) =>
    [0, 1].flatMap((block): Sized[] => {
      const path = `${stack}.block.${block}.layer`;
      const attentions = stack === "encoder" ? ["0.SelfAttention"] : ["0.SelfAttention", "1.EncDecAttention"];
      const projections = attentions.flatMap((attention): Sized[] => [
        ...["q", "k", "v"].map((name): Sized => [`${path}.${attention}.${name}`, { in: 64, out: 48 }]),
        [`${path}.${attention}.o`, { in: 48, out: 64 }],
      ]);
      const dense = `${path}.${attentions.length}.DenseReluDense`;
      return [
        ...projections,
        [`${dense}.wi_0`, { in: 64, out: 96 }],
        [`${dense}.wi_1`, { in: 64, out: 96 }],
        [`${dense}.wo`, { in: 96, out: 64 }],
      ];
    }),
  ),
);

export function temporary(): string {
  return mkdtempSync(join(tmpdir(), "skein-adapters-"));
}

export const SHARED_ADAPTERS = "../shared/adapters";
export const SHARED_GOLDEN = "../shared/golden";

/** Tests on collected public data run only if the data exists. */
export const HAS_SHARED_ADAPTERS = existsSync(SHARED_ADAPTERS);
