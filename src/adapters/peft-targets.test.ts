import { describe, expect, test } from "vitest";
import { parsePeftConfig } from "./peft-config.ts";
import { type LayerRule, loraScales, targetTest } from "./peft-targets.ts";
import { pythonFullmatch } from "./python-regex.ts";

function lora(keys: Record<string, unknown>) {
  const { config } = parsePeftConfig(JSON.stringify({ peft_type: "LORA", r: 8, lora_alpha: 16, ...keys }), "test");
  if (config.kind !== "lora") throw new Error("expected LoRA");
  return config;
}

function covered(keys: Record<string, unknown>, paths: readonly string[], rule: LayerRule = "first"): string[] {
  return paths.filter(targetTest(lora(keys), rule, "test"));
}

const T5 = [
  "encoder.block.0.layer.0.SelfAttention.q",
  "encoder.block.1.layer.0.SelfAttention.q",
  "decoder.block.1.layer.1.EncDecAttention.q",
  "lm_head",
];

describe("target_modules", () => {
  test("a list matches the whole path, or its end after a dot, and nothing else", () => {
    expect(covered({ target_modules: ["proj"] }, ["a.q_proj", "a.proj", "proj", "a.proj.b"])).toEqual(["a.proj", "proj"]);
    expect(covered({ target_modules: ["attn.c_attn"] }, ["h.0.attn.c_attn", "h.0.xattn.c_attn"])).toEqual(["h.0.attn.c_attn"]);
  });

  test("a string is a pattern for the whole path", () => {
    expect(covered({ target_modules: ".*(SelfAttention|EncDecAttention).q" }, T5)).toEqual(T5.slice(0, 3));
    expect(covered({ target_modules: "SelfAttention.q" }, T5)).toEqual([]);
  });

  test("all-linear is everything but the output head", () => {
    expect(covered({ target_modules: "all-linear" }, T5)).toEqual(T5.slice(0, 3));
  });

  test("exclude_modules takes away, by list or pattern", () => {
    expect(covered({ target_modules: ["q"], exclude_modules: ["EncDecAttention.q"] }, T5)).toEqual(T5.slice(0, 2));
    expect(covered({ target_modules: ["q"], exclude_modules: "encoder.*" }, T5)).toEqual([T5[2]]);
  });

  test("layers_to_transform counts by the first number in a path, or the last, as PEFT's versions do", () => {
    const keys = { target_modules: ["q"], layers_to_transform: [1] };
    expect(covered(keys, T5, "first")).toEqual([T5[1], T5[2]]);
    expect(covered(keys, T5, "last")).toEqual([T5[2]]);
    expect(covered({ ...keys, layers_pattern: "block" }, T5, "last")).toEqual([T5[1], T5[2]]);
  });
});

test("rank and alpha are looked up separately, the first matching key wins, at the end of a path", () => {
  const scales = loraScales(lora({ rank_pattern: { q: 2, ".*\\.1\\..*": 4 }, alpha_pattern: { "block.0.*": 6, q: 3 } }), "test");
  expect(scales("encoder.block.0.q")).toEqual({ rank: 2, alpha: 6, scaling: 3 });
  expect(scales("encoder.block.1.q")).toEqual({ rank: 2, alpha: 3, scaling: 1.5 });
  expect(scales("encoder.block.1.k")).toEqual({ rank: 4, alpha: 16, scaling: 4 });
  expect(scales("encoder.block.2.kq")).toEqual({ rank: 8, alpha: 16, scaling: 2 });
});

describe("Python patterns", () => {
  const same: [string, string, boolean][] = [
    ["(?P<kind>q|v)_proj", "q_proj", true],
    ["(?P<kind>q|v)_(?P=kind)", "q_v", false],
    ["(?P<kind>q|v)_(?P=kind)", "v_v", true],
    ["\\Amodel\\.\\d+\\Z", "model.12", true],
    ["(?i)Q_PROJ", "q_proj", true],
    ["[]x]+", "x]", true],
    ["[^]x]+", "x]", false],
    ["[[]q", "[q", true],
    ["q|v", "qv", false],
    ["(?:a|b){2,3}", "abb", true],
    ["a(?=b).", "ab", true],
  ];
  test.each(same)("%s on %s: %s", (pattern, text, expected) => {
    expect(pythonFullmatch(pattern, "test")(text)).toBe(expected);
  });

  test.each(["a++", "(?>a)b", "(?x) a", "a(?i)b", "(?#note)a", "\\N{DASH}", "(?(1)a|b)", "(a"])("%s is refused", (pattern) => {
    expect(() => pythonFullmatch(pattern, "test")).toThrow(/cannot be read here/);
  });
});
