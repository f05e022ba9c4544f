/** @file A tokenizer of whole words for tiny models: writes tokenizer.json and tokenizer_config.json. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface WordTokenizerOptions {
  /** Append </s> to every text, as T5 does. */
  readonly appendEnd?: boolean;
  readonly chatTemplate?: string;
  /** More special tokens, after <unk>. */
  readonly special?: readonly string[];
}

/** Gives the model in `directory` a vocabulary of <pad> 0, </s> 1, <unk> 2, `special` and then `words`. */
export async function writeWordTokenizer(
  directory: string,
  words: readonly string[],
  { appendEnd = false, chatTemplate, special: more = [] }: WordTokenizerOptions = {},
): Promise<void> {
  const special = ["<pad>", "</s>", "<unk>", ...more];
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const end = { SpecialToken: { id: "</s>", type_id: 0 } };
  const tokenizer = {
    version: "1.0",
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }, ...(appendEnd ? [end] : [])],
      pair: [],
      special_tokens: { "</s>": { id: "</s>", ids: [1], tokens: ["</s>"] } },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      type: "WordPiece",
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries([...special, ...words].map((word, id) => [word, id])),
    },
  };
  const config = { pad_token: "<pad>", eos_token: "</s>", unk_token: "<unk>", ...(chatTemplate && { chat_template: chatTemplate }) };
  await writeFile(join(directory, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(join(directory, "tokenizer_config.json"), JSON.stringify(config));
}
