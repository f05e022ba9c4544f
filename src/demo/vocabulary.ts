/** @file The demo's tokenizer: one token per word, in the tokenizer.json format of Hugging Face.
 *
 *  <pad> 0, </s> 1 and <unk> 2 as in T5; </s> is appended to every sequence. */

import { MOST_ITEMS, marker } from "./documents.ts";
import { CARRIERS, IDLE_WORDS, KEYWORDS } from "./instructions.ts";
import { DOMAINS, type Domain, SKILLS, wordsOf } from "./skills.ts";

const SPECIAL = ["<pad>", "</s>", "<unk>"] as const;

/** Every token; its index is its id. */
export function vocabulary(): readonly string[] {
  const markers = Array.from({ length: MOST_ITEMS }, (_, index) => marker(index));
  const carriers = CARRIERS.flatMap((carrier) => carrier.split(" ")).filter((word) => word !== "*");
  const items = DOMAINS.flatMap((domain: Domain) => wordsOf(domain));
  const names = SKILLS.map((skill) => skill.name);
  const answers = SKILLS.flatMap((skill) => [...skill.answers.values()]);
  return [
    ...new Set([
      ...SPECIAL,
      ":",
      ";",
      ...markers,
      ...names,
      ...carriers,
      ...Object.values(KEYWORDS).flat(),
      ...IDLE_WORDS.flat(),
      ...items,
      ...answers,
    ]),
  ];
}

const special = (content: string, id: number) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** The content of tokenizer.json. */
export function tokenizerJson(): object {
  const words = vocabulary();
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map(special),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "</s>", type_id: 0 } }],
      pair: [
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "</s>", type_id: 0 } },
        { Sequence: { id: "B", type_id: 0 } },
        { SpecialToken: { id: "</s>", type_id: 0 } },
      ],
      special_tokens: { "</s>": { id: "</s>", ids: [1], tokens: ["</s>"] } },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    // Every word is one piece. The tokenizer library does not support the format of plain word lists.
    model: {
      type: "WordPiece",
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  };
}

/** The content of tokenizer_config.json. */
export function tokenizerConfigJson(): object {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    pad_token: "<pad>",
    eos_token: "</s>",
    unk_token: "<unk>",
    model_max_length: 512,
    clean_up_tokenization_spaces: false,
  };
}
