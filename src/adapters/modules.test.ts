import { describe, expect, test } from "vitest";
import { closestNames, type ModuleSizes, NO_CHANGE, prefixChange } from "./modules.ts";

const sizes = (...names: string[]): ModuleSizes => new Map(names.map((name) => [name, { in: 2, out: 2 }]));
const LLAMA = sizes("model.layers.0.q", "model.layers.1.q");
const T5 = sizes("encoder.block.0.q", "decoder.block.0.q");

describe("an adapter's names find the base's", () => {
  test("as they are, wrapped, headless, or both", () => {
    expect(prefixChange(["model.layers.1.q"], LLAMA, "a")).toBe(NO_CHANGE);
    expect(prefixChange(["wrapper.model.layers.1.q"], LLAMA, "a")).toEqual({ strip: "wrapper.", add: "" });
    expect(prefixChange(["layers.0.q", "layers.1.q"], LLAMA, "a")).toEqual({ strip: "", add: "model." });
    expect(prefixChange(["transformer.layers.1.q"], LLAMA, "a")).toEqual({ strip: "transformer.", add: "model." });
  });

  test("but a layer is never taken for another", () => {
    expect(() => prefixChange(["model.layers.9.q"], sizes("model.layers.0.q"), "a")).toThrow(
      /no module "model.layers.9.q"[\s\S]*model.layers.0.q/,
    );
    expect(() => prefixChange(["q"], LLAMA, "a")).toThrow(/no module "q"/);
  });

  test("and a name that fits two ways is refused", () => {
    expect(() => prefixChange(["block.0.q"], T5, "a")).toThrow(/encoder.block.0.q or decoder.block.0.q/);
  });

  test("and none is taken for a module of another part, or for one that has a name already", () => {
    const wide = sizes("model.language_model.layers.0.q", "model.language_model.layers.1.q", "lm_head");
    const tower = "model.vision_tower.vision_model.encoder.layers.0.q";
    expect(() => prefixChange(["model.language_model.layers.0.q", tower], wide, "a")).toThrow(
      /no module "model.vision_tower[\s\S]*images or sound/,
    );
    expect(() => prefixChange([tower, "visual.layers.1.q"], wide, "a")).toThrow(/vision_tower.*\(nor 1 more of the adapter's 2\)/);
    expect(() => prefixChange(["model.language_model.layers.0.q", "model.layers.1.q"], wide, "a")).toThrow(
      /"model.layers.1.q"[\s\S]*as the base does/,
    );
    expect(() => prefixChange(["model.layers.0.q", "other.model.layers.0.q"], LLAMA, "a")).toThrow(/no module "other.model.layers.0.q"/);
    for (const part of ["model.decoder.layers.0.q", "model.encoder.layers.0.q", "talker.layers.0.q"])
      expect(() => prefixChange([part], LLAMA, "a")).toThrow(/no module/);
    expect(prefixChange(["model.layers.0.q", "lm_head"], wide, "a")).toEqual({ strip: "model.", add: "model.language_model." });
    expect(prefixChange(["model.language_model.layers.0.q"], LLAMA, "a")).toEqual({ strip: "model.language_model.", add: "model." });
  });

  test("and all of them by the same change", () => {
    expect(() => prefixChange(["language.layers.0.q", "other.layers.1.q"], LLAMA, "a")).toThrow(
      /no module "language.layers.0.q" \(nor 1 more of the adapter's 2\)/,
    );
  });
});

test("the closest names come first", () => {
  expect(closestNames("q_prj", ["v_proj", "q_proj", "down"], 2)).toEqual(["q_proj", "v_proj"]);
});
