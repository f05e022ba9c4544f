import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import golden from "../../../tests/golden/tokenizers/engine.json" with { type: "json" };
import numerals from "../../../tests/golden/tokenizers/numerals.json" with { type: "json" };
import { loadTokenizer } from "../load-tokenizer.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { precompiled } from "./precompiled.ts";

const here = (path: string): string => new URL(path, import.meta.url).pathname;
const SHARED = here("../../../../shared/tokenizers/");
const TINY = here("../../../tests/golden/tokenizers/tinystories");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-engine-"));
});
afterAll(() => rm(folder, { recursive: true }));

const EMPTY = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
const models: Readonly<Record<string, object>> = golden.models;

/** A tokenizer from parts of a tokenizer.json and a tokenizer_config.json. */
async function tokenizerOf(parts: object, config: object = {}): Promise<Tokenizer> {
  const place = await mkdtemp(join(folder, "t-"));
  await writeFile(join(place, "tokenizer.json"), JSON.stringify({ model: models.bytes, ...EMPTY, ...parts }));
  await writeFile(join(place, "tokenizer_config.json"), JSON.stringify(config));
  return loadTokenizer(place);
}

describe("gives the ids of the Rust library", () => {
  test.each(Object.entries(golden.variants))("%s", async (_, { model, parts, ids }) => {
    const tokenizer = await tokenizerOf({ ...parts, model: models[model] });
    for (const [i, text] of golden.texts.entries()) expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids[i]);
  });
});

describe("reads Unicode's numerals and spaces beside letters as the Rust library does", () => {
  for (const [name, hashes] of Object.entries(numerals.hashes)) {
    const place = name === "tinystories" ? TINY : SHARED + name;
    test.skipIf(!existsSync(place))(name, async () => {
      const tokenizer = await loadTokenizer(await withTokenizerJson(place));
      const { codes, contexts } = numerals;
      const rows = codes.map((code) => contexts.map((context) => tokenizer.encode(context.replaceAll("*", String.fromCodePoint(code)))));
      for (const [i, hash] of hashes.entries()) {
        const block = JSON.stringify(rows.slice(64 * i, 64 * i + 64));
        const from = `U+${codes[64 * i]!.toString(16)} and the 63 behind it`;
        expect(createHash("sha256").update(block).digest("hex").slice(0, 12), from).toBe(hash);
      }
    });
  }
});

/** The folder itself, or a copy in which its only tokenizer file has the expected name. */
async function withTokenizerJson(place: string): Promise<string> {
  const derived = join(place, "tokenizer.DERIVED.json");
  if (!existsSync(derived)) return place;
  const copy = await mkdtemp(join(folder, "derived-"));
  await symlink(derived, join(copy, "tokenizer.json"));
  return copy;
}

describe("properties", () => {
  const text = fc.string({ unit: fc.constantFrom(..."ab1 .-½٣²\n\u0085\ufeff\u00a0é中𠀀😀"), maxLength: 20 });

  test("byte-level tokenizers lose nothing, wherever they split", async () => {
    const pre = (behavior: string, invert: boolean) => ({
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: "\\s?\\p{N}|\\w+" }, behavior, invert },
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, use_regex: true },
      ],
    });
    for (const behavior of ["Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]) {
      for (const invert of [false, true]) {
        const tokenizer = await tokenizerOf({ pre_tokenizer: pre(behavior, invert), decoder: { type: "ByteLevel" } });
        fc.assert(fc.property(text, (given) => tokenizer.decode(tokenizer.encode(given)) === given));
      }
    }
  });

  test("a map of characters that maps nothing changes nothing, and graphemes do not depend on what stands around them", () => {
    const charsmap = golden.variants["unigram, precompiled"].parts.normalizer.precompiled_charsmap;
    const normalize = precompiled(charsmap);
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."xyz. 中é😀") }), (given) => normalize(given) === given));
    fc.assert(fc.property(text, text, (p, q) => normalize(`${p} ${q}`) === `${normalize(p)} ${normalize(q)}`));
  });
});

describe("bos and eos that tokenizer_config.json asks for", () => {
  const special = ["<b>", "<e>"].map((content, i) => ({ id: 300 + i, content, special: true, normalized: false }));
  const config = { tokenizer_class: "LlamaTokenizerFast", bos_token: "<b>", eos_token: "<e>" };
  const byteLevel = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };
  const processors: Readonly<Record<string, object | null>> = {
    nothing: null,
    ByteLevel: byteLevel,
    "a template": { type: "TemplateProcessing", single: [{ Sequence: { id: "A", type_id: 0 } }], special_tokens: {} },
    "a row of them": { type: "Sequence", processors: [byteLevel] },
    "RoBERTa's": { type: "RobertaProcessing", sep: ["a", 1], cls: ["b", 2] },
  };
  test.each(Object.entries(processors))("stand in the place of %s", async (_, post_processor) => {
    const load = (more: object) => tokenizerOf({ added_tokens: special, post_processor }, { ...config, ...more });
    expect((await load({ add_bos_token: true, add_eos_token: false })).encode("A")).toEqual([300, 65]);
    expect((await load({ add_eos_token: true })).encode("A")).toEqual([300, 65, 301]);
    expect((await load({ add_bos_token: false })).encode("A")).toEqual([65]);
    expect((await load({ add_bos_token: true })).encode("A", { addSpecialTokens: false })).toEqual([65]);
  });
});

describe("refuses by name", () => {
  const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
  const refused: [string, object, RegExp][] = [
    ["a normalizer of an unknown kind", { normalizer: { type: "Quill" } }, /Unknown Normalizer type: Quill/],
    ["one inside a sequence", { normalizer: { type: "Sequence", normalizers: [{ type: "Quill" }] } }, /Normalizer type: Quill/],
    ["UnicodeScripts", { pre_tokenizer: { type: "UnicodeScripts" } }, /PreTokenizer type: UnicodeScripts/],
    ["a post-processor of an unknown kind", { post_processor: { type: "Quill" } }, /PostProcessor type: Quill/],
    ["a behavior of an unknown kind", { pre_tokenizer: { ...split("a"), behavior: "Quilted" } }, /Isolated/],
    ["a pattern that JavaScript has not", { pre_tokenizer: split("(?<=a+)b(") }, /not supported/],
    ["BPE that marks what goes on", { model: { ...models.bytes, continuing_subword_prefix: "##" } }, /continuing_subword_prefix "##"/],
    ["BPE that drops merges", { model: { ...models.bytes, dropout: 0.1 } }, /dropout of 0.1/],
    ["a map of characters that is cut off", { normalizer: { type: "Precompiled", precompiled_charsmap: "////" } }, /cut off/],
  ];
  test.each(refused)("%s", async (_, parts, reason) => {
    await expect(tokenizerOf(parts)).rejects.toThrow(reason);
  });
});
