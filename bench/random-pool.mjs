/** @file Pools of random experts on disk, for measurements: the folders of experts with gates, and pool.json. */

import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../dist/base/random.js";
import { elements } from "../dist/base/tensor.js";
import { writeFileAtomically } from "../dist/checkpoint/atomic.js";
import { encode } from "../dist/checkpoint/dtypes.js";
import { streamSafetensors } from "../dist/checkpoint/safetensors.js";
import { openBase } from "../dist/inference/base.js";
import { createPool } from "../dist/storage/pool.js";

const NOISE = 1 << 20;
const STRIDE = 7919; // prime, so that every tensor begins elsewhere in the noise

/** Writes a pool of LoRA experts with gates for the base in the folder `base`. `dtype`: F32, F16 or BF16. Every file gets its name when it is
 *  whole; experts and pools that are there already are left as they are. Returns the bytes of its tensors. */
export async function writeRandomPool(folder, base, { count, rank = 16, dtype = "F32" }) {
  const { modules, architecture, fingerprint } = await openBase(base);
  const targets = [...modules].filter(([, { out, embedding, idle }]) => !embedding && !idle && out !== architecture.vocabularySize);
  const planned = (name, ...shape) => ({ name, dtype, shape });
  const factors = targets.flatMap(([module, size]) => [
    planned(`base_model.model.${module}.lora_A.weight`, rank, size.in),
    planned(`base_model.model.${module}.lora_B.weight`, size.out, rank),
  ]);
  const gates = targets.map(([module, size]) => planned(`${module}.gate`, size.in));
  const width = dtype === "F32" ? 4 : 2;
  const bytes = count * [...factors, ...gates].reduce((sum, { shape }) => sum + width * elements(shape), 0);
  if (existsSync(join(folder, "pool.json"))) return bytes;

  const noise = noiseOf(dtype);
  const paths = targets.map(([module]) => module);
  const [config, gateConfig] = [configOf(paths, rank), { gate_type: "PHATGOOSE", base_fingerprint: await fingerprint() }];
  const names = Array.from({ length: count }, (_, i) => `expert-${i}`);
  for (const [i, name] of names.entries()) {
    const own = join(folder, "experts", name);
    if (existsSync(join(own, "gate_config.json"))) continue; // written last
    mkdirSync(own, { recursive: true });
    const drawn = (tensors, first) => async (_, t) =>
      cut(noise, width * elements(tensors[t].shape), width * STRIDE * (i * 4099 + first + t));
    await streamSafetensors(join(own, "adapter_model.safetensors"), factors, drawn(factors, 0));
    await streamSafetensors(join(own, "gate_model.safetensors"), gates, drawn(gates, factors.length));
    await writeFileAtomically(join(own, "adapter_config.json"), JSON.stringify(config));
    await writeFileAtomically(join(own, "gate_config.json"), JSON.stringify(gateConfig));
  }
  await createPool(folder, { name: base, fingerprint: gateConfig.base_fingerprint }, names);
  return bytes;
}

/** The bytes of normal numbers of deviation 0.02, in the files' format. */
function noiseOf(dtype) {
  const { normal } = seededRandom(1);
  const data = Float32Array.from({ length: NOISE }, () => 0.02 * normal());
  return encode({ dtype: "float32", shape: [NOISE], data }, dtype);
}

/** `length` bytes of the noise from byte `at` on; after its end it begins again. */
function cut(noise, length, at) {
  const bytes = new Uint8Array(length);
  for (let to = 0, from = at % noise.length; to < length; from = 0) {
    const part = noise.subarray(from, from + length - to);
    bytes.set(part, to);
    to += part.length;
  }
  return bytes;
}

function configOf(targets, rank) {
  return { peft_type: "LORA", task_type: "SEQ_2_SEQ_LM", r: rank, lora_alpha: rank, target_modules: targets, bias: "none" };
}
