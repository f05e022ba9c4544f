import { test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { loadModel } from "../library/model.ts";
import { loadAdapter } from "../storage/peft.ts";
import { singleAdapter } from "./woven.ts";

// Rows 0 (no padding) and 3 (padding on both sides) of what PEFT computes on the tiny Llama with each folder.
const expected = await goldenTensors("lora_variants/logits.safetensors");
const cases = expected.names.flatMap((name) => (name.endsWith(".logits") ? [name.slice(0, -".logits".length)] : []));

test.each(cases)("%s: one adapter on every token gives PEFT's logits", async (name) => {
  await using model = await loadModel(golden("llama/model"));
  const batch = { inputIds: expected.int("input_ids"), attentionMask: expected.int("attention_mask") };
  const adapter = await loadAdapter(golden(`lora_variants/${name}`), model.base.modules);
  if (adapter.kind !== "lora") throw new Error("not a LoRA");
  const { logits } = await model.withWoven(singleAdapter(adapter, model.base.modules)).forward(batch);
  // PEFT has changed how rank and alpha patterns meet; ours is the newer rule, which differs in one case.
  const newer = `${name}.logits_newer_peft_rule`;
  expectClose(logits, expected.float(expected.has(newer) ? newer : `${name}.logits`), 1e-4, batch.attentionMask);
});
