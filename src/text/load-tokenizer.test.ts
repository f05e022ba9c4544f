import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import golden from "../../tests/golden/tokenizers/encodings.json" with { type: "json" };
import { CheckpointError } from "../base/errors.ts";
import { loadTokenizer } from "./load-tokenizer.ts";

const here = (path: string): string => new URL(path, import.meta.url).pathname;
const TINY = here("../../tests/golden/tokenizers/tinystories");
const SHARED = here("../../../shared/tokenizers/");
const SCRIPT = "tests/golden/tokenizers/make.py";

describe("gives the ids and texts of the Rust library", () => {
  for (const [name, rows] of Object.entries(golden.tokenizers)) {
    const folder = name === "tinystories" ? TINY : SHARED + name;
    const isThere = rows.length > 0 && existsSync(folder); // the Rust library refuses one of the files
    test.skipIf(!isThere)(
      `${name}${isThere ? "" : " (skipped: this tokenizer is not on this machine, or the library cannot read it)"}`,
      async () => {
        const tokenizer = await loadTokenizer(folder);
        for (const [i, { ids, decoded, plain }] of rows.entries()) {
          const text = golden.texts[i]!;
          const why = `${SCRIPT}: ${JSON.stringify(text)}`;
          expect(tokenizer.encode(text), why).toEqual(ids);
          expect(tokenizer.decode(ids, { cleanUpSpaces: false }), why).toBe(decoded);
          expect(tokenizer.decode(ids, { cleanUpSpaces: false, skipSpecialTokens: true }), why).toBe(plain);
        }
      },
    );
  }
});

describe("a LLaMA tokenizer", () => {
  test("knows its special tokens and its size", async () => {
    const tokenizer = await loadTokenizer(TINY);
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2, unkId: 0, vocabularySize: 512, cleansUpSpaces: false });
    expect(tokenizer.padId).toBeUndefined();
    expect(tokenizer.chatTemplate).toBeUndefined();
    expect(tokenizer.idOf("</s>")).toBe(2);
    expect(tokenizer.idOf("nonesuch")).toBeUndefined();
  });

  test("puts bos before a text unless told not to", async () => {
    const tokenizer = await loadTokenizer(TINY);
    expect(tokenizer.encode("Once upon a time")).toEqual([1, 403, 407, 261, 378]);
    expect(tokenizer.encode("Once upon a time", { addSpecialTokens: false })).toEqual([403, 407, 261, 378]);
    expect(tokenizer.encode("")).toEqual([1]);
  });

  test("tells a token's text with its leading space", async () => {
    const tokenizer = await loadTokenizer(TINY);
    expect([403, 407, 2, 243].map((id) => tokenizer.tokenText(id))).toEqual([" Once", " upon", "</s>", "\uFFFD"]);
  });

  test("decodes no ids, and ids beyond its vocabulary, to nothing", async () => {
    const tokenizer = await loadTokenizer(TINY);
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([403, 9999, 407])).toBe("Once upon");
    expect(tokenizer.decode([9999])).toBe("");
  });
});

describe("tokenizer_config.json", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "skein-tokenizer-"));
    await writeFile(join(folder, "tokenizer.json"), await readFile(join(TINY, "tokenizer.json")));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const configure = (config: object): Promise<void> => writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));

  test("decides whether a LLaMA tokenizer adds bos and eos", async () => {
    const names = { tokenizer_class: "LlamaTokenizer", bos_token: { content: "<s>" }, eos_token: "</s>" };
    await configure({ ...names, add_bos_token: false, add_eos_token: true });
    expect((await loadTokenizer(folder)).encode("Once upon")).toEqual([403, 407, 2]);
    await configure({ ...names, add_eos_token: true });
    expect((await loadTokenizer(folder)).encode("Once upon")).toEqual([1, 403, 407, 2]);
  });

  test("makes a token special, so that text splits at it and decoding can leave it out", async () => {
    await configure({ eos_token: "▁Once" });
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.eosId).toBe(403);
    expect(tokenizer.decode([403, 407], { skipSpecialTokens: true })).toBe("upon");
  });

  test("decides whether decoding cleans up spaces", async () => {
    await configure({ clean_up_tokenization_spaces: true });
    const tokenizer = await loadTokenizer(folder);
    const ids = tokenizer.encode("Wait , do n't !", { addSpecialTokens: false });
    expect(tokenizer.decode(ids)).toBe("Wait, don't!");
    expect(tokenizer.decode(ids, { cleanUpSpaces: false })).toBe("Wait , do n't !");
  });

  test("special_tokens_map.json speaks where it is silent", async () => {
    await configure({ eos_token: "</s>" });
    await writeFile(join(folder, "special_tokens_map.json"), JSON.stringify({ eos_token: "<unk>", bos_token: "<s>" }));
    expect(await loadTokenizer(folder)).toMatchObject({ bosId: 1, eosId: 2 });
  });

  const edit = async (change: object): Promise<void> => {
    const file = JSON.parse(await readFile(join(TINY, "tokenizer.json"), "utf8"));
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ ...file, ...change }));
  };
  const broken: [string, RegExp, () => Promise<unknown>][] = [
    ["a malformed special token", /malformed/, () => configure({ eos_token: 7 })],
    ["a malformed chat template", /chat_template is neither/, () => configure({ chat_template: 7 })],
    ["a model of an unknown kind", /BPE/, () => edit({ model: { type: "Quill", vocab: {} } })],
    ["a decoder of an unknown kind", /not supported: Unknown Decoder type: Quill/, () => edit({ decoder: { type: "Quill" } })],
    ["a file that is no tokenizer", /Not a tokenizer/, () => writeFile(join(folder, "tokenizer.json"), "{}")],
    [
      "sentencepiece alone",
      /only spiece.model[\s\S]*save_pretrained/,
      () => rm(join(folder, "tokenizer.json")).then(() => writeFile(join(folder, "spiece.model"), "")),
    ],
  ];
  test.each(broken)("is refused with a reason: %s", async (_, reason, make) => {
    await make();
    const loading = loadTokenizer(folder);
    await expect(loading).rejects.toThrow(CheckpointError);
    await expect(loading).rejects.toThrow(reason);
  });
});
