/** @file Pools of random experts on disk, for measurements: the folders of experts with gates, and pool.json. */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../dist/base/random.js";
import { elements } from "../dist/base/tensor.js";
import { writeFileAtomically } from "../dist/checkpoint/atomic.js";
import { writeSafetensors } from "../dist/checkpoint/safetensors.js";
import { openBase } from "../dist/inference/base.js";
import { createPool } from "../dist/storage/pool.js";

/** Writes a pool of LoRA experts with gates for the base in the folder `base`. `dtype`: F32, F16 or BF16. Returns the bytes of its tensors. */
export async function writeRandomPool(folder, base, { count, rank = 16, dtype = "F32" }) {
  rmSync(folder, { recursive: true, force: true });
  const { modules, architecture, fingerprint } = await openBase(base);
  const targets = [...modules].filter(([, { out, embedding, idle }]) => !embedding && !idle && out !== architecture.vocabularySize);
  const { normal } = seededRandom(1);
  const noise = Float32Array.from({ length: 1 << 20 }, () => 0.02 * normal());
  let at = 0;
  const drawn = (...shape) => {
    const length = elements(shape);
    at = (at + 7919) % noise.length;
    const data = new Float32Array(length);
    for (let from = 0; from < length; from += noise.length - at)
      data.set(noise.subarray(at, at + Math.min(noise.length - at, length - from)), from);
    return { dtype: "float32", shape, data };
  };
  const names = Array.from({ length: count }, (_, i) => `expert-${i}`);
  const [config, gateConfig] = [
    configOf(
      targets.map(([module]) => module),
      rank,
    ),
    { gate_type: "PHATGOOSE", base_fingerprint: await fingerprint() },
  ];
  const options = dtype === "F32" ? {} : { dtype };
  let bytes = 0;
  for (const name of names) {
    const own = join(folder, "experts", name);
    mkdirSync(own, { recursive: true });
    const [tensors, gates] = [new Map(), new Map()];
    for (const [module, { in: inputs, out }] of targets) {
      tensors.set(`base_model.model.${module}.lora_A.weight`, drawn(rank, inputs));
      tensors.set(`base_model.model.${module}.lora_B.weight`, drawn(out, rank));
      gates.set(`${module}.gate`, drawn(inputs));
    }
    for (const { shape } of [...tensors.values(), ...gates.values()]) bytes += elements(shape) * (dtype === "F32" ? 4 : 2);
    await writeSafetensors(join(own, "adapter_model.safetensors"), tensors, options);
    await writeSafetensors(join(own, "gate_model.safetensors"), gates, options);
    await writeFileAtomically(join(own, "adapter_config.json"), JSON.stringify(config));
    await writeFileAtomically(join(own, "gate_config.json"), JSON.stringify(gateConfig));
  }
  await createPool(folder, { name: base, fingerprint: gateConfig.base_fingerprint }, names);
  return bytes;
}

function configOf(targets, rank) {
  return { peft_type: "LORA", task_type: "SEQ_2_SEQ_LM", r: rank, lora_alpha: rank, target_modules: targets, bias: "none" };
}
