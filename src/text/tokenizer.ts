/** @file The interface of tokenizers: text to token ids and back. */

/** How a text is encoded. */
export interface EncodeOptions {
  /** Add the special tokens that the model expects around a text: T5's `</s>`, LLaMA's `<s>`. Default true. */
  readonly addSpecialTokens?: boolean;
}

/** How token ids are decoded. */
export interface DecodeOptions {
  /** Leave special tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean;
  /** Remove spaces before punctuation, as some older tokenizers do. Default: the value in tokenizer_config.json, else false. */
  readonly cleanUpSpaces?: boolean;
}

/** Special tokens by role. */
export interface SpecialTokens {
  readonly bos?: string;
  readonly eos?: string;
  readonly pad?: string;
  readonly unk?: string;
}

/** Text to token ids and back, as Hugging Face's own library does it. */
export interface Tokenizer {
  /** Recognizes special tokens that occur in `text`. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Ids outside the vocabulary decode to no text. (Models round the size of their vocabulary up.) */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** A token's text in the middle of a text, with its leading space; "\uFFFD" for a part of a character. */
  tokenText(id: number): string;
  /** The id of a token as the vocabulary spells it ("</s>", "▁the", "Ġthe"). */
  idOf(token: string): number | undefined;
  /** One more than the highest id. */
  readonly vocabularySize: number;
  readonly bosId?: number;
  readonly eosId?: number;
  readonly padId?: number;
  readonly unkId?: number;
  readonly specialTokens: SpecialTokens;
  /** Whether decode removes spaces before punctuation by default. */
  readonly cleansUpSpaces: boolean;
  /** The chat template in Jinja; undefined when the model has none. */
  readonly chatTemplate?: string;
  /** All chat templates by name; "default" is `chatTemplate`. */
  readonly chatTemplates: ReadonlyMap<string, string>;
}
