/** @file The normalizers of a tokenizer.json (reference: huggingface/tokenizers, normalizers/). */

import * as z from "zod";
import { bytesAsCharacters } from "./byte-characters.ts";
import { patternFinder, patternSchema } from "./patterns.ts";
import { precompiled } from "./precompiled.ts";
import {
  isAccent,
  isBertControl,
  isChinese,
  isMark,
  isNmtControl,
  lowercase,
  type NormalForm,
  normalForm,
  WHITE_SPACE,
} from "./unicode.ts";

export type Normalizer = (text: string) => string;

const flag = z.boolean();
const bert = z.object({ clean_text: flag, handle_chinese_chars: flag, strip_accents: flag.nullish(), lowercase: flag });

const KINDS: Readonly<Record<string, (config: unknown) => Normalizer>> = {
  BertNormalizer: (config) => bertNormalizer(bert.parse(config)),
  ByteLevel: () => bytesAsCharacters,
  Lowercase: () => lowercase,
  NFC: () => form("NFC"),
  NFD: () => form("NFD"),
  NFKC: () => form("NFKC"),
  NFKD: () => form("NFKD"),
  Nmt: () => nmt,
  Precompiled: (config) =>
    precompiledNormalizer(z.object({ precompiled_charsmap: z.string().nullish() }).parse(config).precompiled_charsmap),
  Prepend: (config) => {
    const { prepend } = z.object({ prepend: z.string() }).parse(config);
    return (text) => (text === "" ? "" : prepend + text);
  },
  Replace: (config) => {
    const { pattern, content } = z.object({ pattern: patternSchema, content: z.string() }).parse(config);
    const parts = patternFinder(pattern);
    return (text) => parts(text).reduce((out, { start, end, matches }) => out + (matches ? content : text.slice(start, end)), "");
  },
  Sequence: (config) => {
    const all = z
      .object({ normalizers: z.array(z.unknown()) })
      .parse(config)
      .normalizers.map(normalizerOf);
    return (text) => all.reduce((normalized, normalizer) => normalizer(normalized), text);
  },
  Strip: (config) => {
    const { strip_left: left, strip_right: right } = z.object({ strip_left: flag, strip_right: flag }).parse(config);
    return (text) => stripped(text, { left, right });
  },
  StripAccents: () => (text) => without(text, isMark),
};

/** The normalizer that `config` describes; without one, texts stay unchanged. An unknown kind is an error that names it. */
export function normalizerOf(config: unknown): Normalizer {
  if (config === null || config === undefined) return (text) => text;
  const { type } = z.object({ type: z.string() }).parse(config);
  const kind = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (!kind) throw new Error(`Unknown Normalizer type: ${type}`);
  return kind(config);
}

const form =
  (name: NormalForm): Normalizer =>
  (text) =>
    normalForm(text, name);

const precompiledNormalizer = (base64: string | null | undefined): Normalizer => (base64 ? precompiled(base64) : (text) => text);

function bertNormalizer({ clean_text, handle_chinese_chars, strip_accents, lowercase: lowers }: z.output<typeof bert>): Normalizer {
  return (text) => {
    let out = text;
    if (clean_text) out = without(out, isBertControl).replace(/\p{White_Space}/gu, " ");
    if (handle_chinese_chars) out = Array.from(out, (character) => (isChinese(character) ? ` ${character} ` : character)).join("");
    if (strip_accents ?? lowers) out = without(normalForm(out, "NFD"), isAccent);
    return lowers ? lowercase(out) : out;
  };
}

const nmt = (text: string): string =>
  without(text, isNmtControl).replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, " ");

const without = (text: string, isGone: (character: string) => boolean): string =>
  Array.from(text)
    .filter((character) => !isGone(character))
    .join("");

function stripped(text: string, { left, right }: { left: boolean; right: boolean }): string {
  let [start, end] = [0, text.length];
  while (left && start < end && WHITE_SPACE.test(text[start]!)) start++;
  while (right && end > start && WHITE_SPACE.test(text[end - 1]!)) end--;
  return text.slice(start, end);
}
