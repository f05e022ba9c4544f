/** @file Removes the spaces that word-level tokenizers leave before punctuation and contractions, as transformers'
 *  clean_up_tokenization does, rule by rule in its order: " ." -> ".", " n't" -> "n't". */

const RULES: readonly (readonly [string, string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

const RULE_CHARACTERS = new Set(RULES.flatMap(([pattern]) => [...pattern]));

export function cleanUpSpaces(text: string): string {
  return RULES.reduce((cleaned, [pattern, replacement]) => cleaned.replaceAll(pattern, replacement), text);
}

/** The length of the longest prefix of `text` whose cleaned form stays the same when text is added. It ends with a character that is in no rule. */
export function settledLength(text: string): number {
  let length = text.length;
  while (length > 0 && RULE_CHARACTERS.has(text[length - 1]!)) length--;
  return length;
}
