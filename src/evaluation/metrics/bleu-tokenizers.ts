/** @file sacrebleu's tokenizers `13a` (mteval-v13a.pl), `intl` (mteval-v14.pl, international), `char` and `none`.
 *
 *  Each puts blanks between the tokens of a line. Classes are Unicode: P punctuation, S symbol, N number. */

export const BLEU_TOKENIZERS = ["13a", "intl", "char", "none"] as const;
/** How BLEU cuts a line into words, as sacreBLEU names it. */
export type BleuTokenizer = (typeof BLEU_TOKENIZERS)[number];

const RULES: Readonly<Record<BleuTokenizer, (line: string) => string>> = {
  "13a": tokenize13a,
  intl: (line) =>
    line
      .replace(/(\P{N})(\p{P})/gu, "$1 $2 ")
      .replace(/(\p{P})(\P{N})/gu, " $1 $2")
      .replace(/(\p{S})/gu, " $1 "),
  char: (line) => [...line].join(" "),
  none: (line) => line,
};

/** `line` with blanks between its tokens; several blanks in a row mean the same as one. */
export function tokenizeForBleu(line: string, tokenizer: BleuTokenizer): string {
  return RULES[tokenizer](line);
}

function tokenize13a(line: string): string {
  const text = line
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  return ` ${text} `
    .replace(/([{-~[-` -&(-+:-@/])/gu, " $1 ")
    .replace(/([^0-9])([.,])/gu, "$1 $2 ") // a period or comma stays inside a number only
    .replace(/([.,])([^0-9])/gu, " $1 $2")
    .replace(/([0-9])(-)/gu, "$1 $2 ");
}
