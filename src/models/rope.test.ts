import { expect, test } from "vitest";
import { goldenTensors } from "../../tests/golden.ts";
import { inverseFrequencies, llama3Frequencies, longropeMagnitude, parseScaling, yarnFrequencies, yarnMagnitude } from "./rope-scaling.ts";

const scalingOf = <K extends string>(kind: K, fields: Record<string, unknown>) => {
  const scaling = parseScaling({ rope_type: kind, ...fields });
  if (scaling.kind !== kind) throw new Error(`parsed as ${scaling.kind}`);
  return scaling as Extract<typeof scaling, { kind: K }>;
};

test("inverse frequencies equal transformers', bit by bit or to the last one", async () => {
  const extras = await goldenTensors("extras/extras.safetensors");
  const llama31 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  for (const [name, ours] of [
    ["inv_freq_llama", inverseFrequencies(10000, 16)],
    ["inv_freq_qwen2", inverseFrequencies(1e6, 16)],
    ["inv_freq_gemma", inverseFrequencies(10000, 24)],
    ["inv_freq_llama31_8b", llama3Frequencies(inverseFrequencies(500000, 128), scalingOf("llama3", llama31))],
    ["inv_freq_llama32_1b", llama3Frequencies(inverseFrequencies(500000, 64), scalingOf("llama3", { ...llama31, factor: 32 }))],
  ] as const) {
    const theirs = extras.float(name).data;
    expect(ours.length, name).toBe(theirs.length);
    for (const [i, w] of ours.entries()) expect(Math.abs(w / theirs[i]! - 1), `${name}[${i}]`).toBeLessThan(2e-7);
  }
});

test("yarn: the factor in the file counts, also where the lengths do not agree with it (Qwen 2.5's recipe)", () => {
  const recipe = scalingOf("yarn", { factor: 4, original_max_position_embeddings: 32768 });
  const plain = inverseFrequencies(1e6, 128);
  const stretched = yarnFrequencies(plain, 1e6, 32768, recipe);
  expect(stretched[0]).toBe(plain[0]);
  expect(stretched.at(-1)! * 4).toBeCloseTo(plain.at(-1)!, 12);
  expect(yarnMagnitude(recipe)).toBeCloseTo(0.1 * Math.log(4) + 1, 12);
});

test("longrope: cosines and sines grow with the stretch, unless the file gives their factor", () => {
  const lists = { short_factor: [1], long_factor: [2] };
  expect(longropeMagnitude(131072, 4096, scalingOf("longrope", lists))).toBeCloseTo(Math.sqrt(1 + Math.log(32) / Math.log(4096)), 12);
  expect(longropeMagnitude(4096, 4096, scalingOf("longrope", { ...lists, factor: 4 }))).toBe(1);
  expect(longropeMagnitude(4096, undefined, scalingOf("longrope", { ...lists, factor: 4 }))).toBeCloseTo(Math.sqrt(1 + 2 / 12), 12);
  expect(longropeMagnitude(131072, 4096, scalingOf("longrope", { ...lists, attention_factor: 1.19 }))).toBe(1.19);
});

test("older spellings: `type`, and Phi-3's `su`", () => {
  expect(parseScaling({ type: "linear", factor: 2 })).toEqual({ kind: "linear", factor: 2 });
  expect(parseScaling({ type: "su", short_factor: [1], long_factor: [2] }).kind).toBe("longrope");
  expect(parseScaling(null).kind).toBe("default");
});
