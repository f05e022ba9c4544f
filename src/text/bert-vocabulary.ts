/** @file BERT's vocab.txt as a tokenizer.json (Devlin et al. 2018; reference: transformers, models/bert/tokenization_bert.py),
 *  for encoders published without one. It cleans the text, makes it lower case, strips accents, splits at spaces and punctuation,
 *  and takes the longest pieces of the vocabulary ("##" inside a word); [CLS] comes before the text and [SEP] after it. */

import { CheckpointError } from "../base/errors.ts";

/** The content of the tokenizer.json that transformers would write. `vocabulary`: the text of vocab.txt, one token a line. */
export function bertTokenizerJson(vocabulary: string, { lowercase = true, where = "vocab.txt" } = {}): Readonly<Record<string, unknown>> {
  const lines = vocabulary.split(/\r?\n/);
  const tokens = lines.at(-1) === "" ? lines.slice(0, -1) : lines;
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const idOf = (token: string): number => {
    const id = vocab[token];
    if (id !== undefined) return id;
    throw new CheckpointError({
      code: "tokenizer-damaged",
      what: `The vocabulary has no ${token}.`,
      where,
      fix: "Use BERT's own vocab.txt, or a tokenizer.json.",
    });
  };
  const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].filter((token) => token in vocab);
  const around = (token: string) => [token, { id: token, ids: [idOf(token)], tokens: [token] }];
  return {
    version: "1.0",
    added_tokens: special.map((content) => ({
      id: idOf(content),
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
      ],
      pair: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
        { Sequence: { id: "B", type_id: 1 } },
        { SpecialToken: { id: "[SEP]", type_id: 1 } },
      ],
      special_tokens: Object.fromEntries([around("[CLS]"), around("[SEP]")]),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab },
  };
}
