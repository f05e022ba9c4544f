/** @file The pre-tokenizers of a tokenizer.json: they split a text before the model runs
 *  (reference: huggingface/tokenizers, pre_tokenizers/). */

import * as z from "zod";
import { bytesAsCharacters } from "./byte-characters.ts";
import { characterFinder, type Finder, inverted, patternFinder, patternSchema, regexFinder } from "./patterns.ts";
import { behaviorSchema, type Piece, split } from "./splits.ts";
import { isPunctuation, NUMERIC, WHITE_SPACE } from "./unicode.ts";

export type PreTokenizer = (pieces: readonly Piece[]) => readonly Piece[];

const flag = z.boolean();
const each =
  (splitter: (piece: Piece) => Piece[]): PreTokenizer =>
  (pieces) =>
    pieces.flatMap(splitter);

const spaces = characterFinder((character) => WHITE_SPACE.test(character));
const punctuation = characterFinder(isPunctuation);
const numerals = characterFinder((character) => NUMERIC.test(character));
const gpt2 = patternFinder({ Regex: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` });
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const words = inverted(regexFinder(new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, "gu")));

const KINDS: Readonly<Record<string, (config: unknown) => PreTokenizer>> = {
  BertPreTokenizer: () => each((piece) => split(piece, spaces, "Removed").flatMap((word) => split(word, punctuation, "Isolated"))),
  ByteLevel: (config) => byteLevel(z.object({ add_prefix_space: flag, use_regex: flag.default(true) }).parse(config)),
  CharDelimiterSplit: (config) => {
    const { delimiter } = z.object({ delimiter: z.string() }).parse(config);
    const finder = characterFinder((character) => character === delimiter);
    return each((piece) => split(piece, finder, "Removed"));
  },
  Digits: (config) => {
    const { individual_digits } = z.object({ individual_digits: flag.default(false) }).parse(config);
    return each((piece) => split(piece, numerals, individual_digits ? "Isolated" : "Contiguous"));
  },
  FixedLength: (config) => {
    const { length } = z.object({ length: z.int().positive().default(5) }).parse(config);
    return each((piece) => split(piece, chunks(length), "Isolated"));
  },
  Metaspace: (config) => metaspace(metaspaceSchema.parse(config)),
  Punctuation: (config) => {
    const { behavior } = z.object({ behavior: behaviorSchema.default("Isolated") }).parse(config);
    return each((piece) => split(piece, punctuation, behavior));
  },
  Sequence: (config) => {
    const all = z
      .object({ pretokenizers: z.array(z.unknown()) })
      .parse(config)
      .pretokenizers.map(preTokenizerOf);
    return (pieces) => all.reduce((before, preTokenizer) => preTokenizer(before), pieces);
  },
  Split: (config) => {
    const { pattern, behavior, invert } = z.object({ pattern: patternSchema, behavior: behaviorSchema, invert: flag }).parse(config);
    const finder = invert ? inverted(patternFinder(pattern)) : patternFinder(pattern);
    return each((piece) => split(piece, finder, behavior));
  },
  Whitespace: () => each((piece) => split(piece, words, "Removed")),
  WhitespaceSplit: () => each((piece) => split(piece, spaces, "Removed")),
};

/** The pre-tokenizer that `config` describes; without one, a text stays whole. An unknown kind is an error that names it. */
export function preTokenizerOf(config: unknown): PreTokenizer {
  if (config === null || config === undefined) return (pieces) => pieces;
  const { type } = z.object({ type: z.string() }).parse(config);
  const kind = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (!kind) throw new Error(`Unknown PreTokenizer type: ${type}`);
  return kind(config);
}

function byteLevel({ add_prefix_space, use_regex }: { add_prefix_space: boolean; use_regex: boolean }): PreTokenizer {
  return each(({ text, isFirst }) => {
    const piece = { text: add_prefix_space && !text.startsWith(" ") ? ` ${text}` : text, isFirst };
    const parts = use_regex ? split(piece, gpt2, "Isolated") : [piece];
    return parts.map((part) => ({ ...part, text: bytesAsCharacters(part.text) }));
  });
}

const metaspaceSchema = z.object({
  replacement: z.string(),
  /** The older form of prepend_scheme. */
  add_prefix_space: flag.nullish(),
  prepend_scheme: z.enum(["always", "first", "never"]).optional(),
  split: flag.nullish(),
});

function metaspace({ replacement, add_prefix_space, prepend_scheme, split: splits }: z.output<typeof metaspaceSchema>): PreTokenizer {
  const scheme = prepend_scheme ?? (add_prefix_space === false ? "never" : "always");
  const finder = characterFinder((character) => character === replacement);
  return each(({ text, isFirst }) => {
    const marked = text.replaceAll(" ", replacement);
    const isWanted = scheme === "always" || (scheme === "first" && isFirst);
    const piece = { text: isWanted && !marked.startsWith(replacement) ? replacement + marked : marked, isFirst };
    return (splits ?? true) ? split(piece, finder, "MergedWithNext") : [piece];
  });
}

/** Parts of `length` characters. */
function chunks(length: number): Finder {
  const pattern = new RegExp(`[\\s\\S]{1,${length}}`, "gu");
  return (text) => Array.from(text.matchAll(pattern), ({ 0: part, index }) => ({ start: index, end: index + part.length, matches: true }));
}
