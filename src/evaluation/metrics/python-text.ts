/** @file Text functions with Python's semantics, for metrics that are defined by Python code.
 *
 *  Python's whitespace (str.split, str.strip) has U+001C..U+001F and U+0085 and lacks U+FEFF; its word characters are
 *  letters and numbers of every script. Reference: the Python Standard Library, "String Methods" and "re". */

const WHITESPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
/** One or more whitespace characters: `\s+`. */
export const WHITESPACE_RUNS = new RegExp(`${WHITESPACE}+`, "u");
const TRAILING = new RegExp(`${WHITESPACE}+$`, "u");

/** `str.split()`: the pieces between runs of whitespace, none of them empty. */
export function splitWhitespace(text: string): string[] {
  return text.split(WHITESPACE_RUNS).filter((piece) => piece !== "");
}

/** `str.rstrip()`. */
export function stripRight(text: string): string {
  return text.replace(TRAILING, "");
}

/** `string.punctuation`: the 32 ASCII punctuation characters. */
export const ASCII_PUNCTUATION: ReadonlySet<string> = new Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");

/** The count of each item, in order of first appearance (`collections.Counter`). */
export function countItems(items: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

/** The size of the intersection of two multisets: the sum over items of the smaller count. */
export function overlap(left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const [item, count] of left) total += Math.min(count, right.get(item) ?? 0);
  return total;
}

/** Counts of the n-grams of `tokens`, keyed by their tokens joined with a separator that no token contains. */
export function countNgrams(tokens: readonly string[], n: number, separator = " "): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const ngram = n === 1 ? tokens[i]! : tokens.slice(i, i + n).join(separator);
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
  }
  return counts;
}
