/** @file Text to token ids and back: what every tokenizer answers. */

export interface EncodeOptions {
  /** Add what the model expects around a text: T5's `</s>`, LLaMA's `<s>`. Default true. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean;
  /** Remove spaces before punctuation, as some older tokenizers ask for. Default: what tokenizer_config.json says, else false. */
  readonly cleanUpSpaces?: boolean;
}

/** Tokens named by the role they play. */
export interface SpecialTokens {
  readonly bos?: string;
  readonly eos?: string;
  readonly pad?: string;
  readonly unk?: string;
}

export interface Tokenizer {
  /** Special tokens that occur in `text` are read as such. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Ids outside the vocabulary (models round theirs up) stand for no text. */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** What a token reads as in the middle of a text, its leading space included; "\uFFFD" for a part of a character. */
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
  /** Whether decode removes spaces before punctuation unless told otherwise. */
  readonly cleansUpSpaces: boolean;
  /** The chat template in Jinja; undefined when the model has none. */
  readonly chatTemplate?: string;
  /** All chat templates by name; "default" is `chatTemplate`. */
  readonly chatTemplates: ReadonlyMap<string, string>;
}
