/** @file The tokenizer of Qwen-7B (2023; reference: QWenTokenizer in the model's own tokenization_qwen.py, over OpenAI's tiktoken).
 *
 *  1. The text is normalized to NFC and split at special tokens, which are always recognized.
 *  2. The regular expression below cuts the rest into pieces.
 *  3. Each piece starts as its UTF-8 bytes; the two neighbors whose union has the lowest rank are joined until none has a rank.
 *
 *  A .tiktoken file has a line "base64 rank" for each token; a token's rank is its id. Special tokens have ids from 151,643 on. */

import { CheckpointError } from "../base/errors.ts";
import { cleanUpSpaces } from "./clean-up.ts";
import { textWithin } from "./token-text.ts";
import type { Tokenizer } from "./tokenizer.ts";

const FIRST_SPECIAL_ID = 151643;
const END_OF_TEXT = "<|endoftext|>";
const EXTRAS = 205;
const SPECIAL_TOKENS = [END_OF_TEXT, "<|im_start|>", "<|im_end|>", ...Array.from({ length: EXTRAS }, (_, i) => `<|extra_${i}|>`)];

// tiktoken's pattern in JavaScript's syntax. Its \s is Unicode's White_Space (JavaScript's \s differs in two characters), and its
// case-insensitive s also matches the long s, U+017F.
const SPACE = "\\p{White_Space}";
const PIECES = new RegExp(
  [
    "'(?:[sS\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])",
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
    "\\p{N}",
    ` ?[^${SPACE}\\p{L}\\p{N}]+[\\r\\n]*`,
    `${SPACE}*[\\r\\n]+`,
    `${SPACE}+(?!\\P{White_Space})`,
    `${SPACE}+`,
  ].join("|"),
  "gu",
);
const SPECIALS = /(<\|(?:endoftext|im_start|im_end|extra_\d+)\|>)/;

/** The tokenizer of a .tiktoken file. `text` is the file read as Latin-1, `path` its name for messages. */
export function parseQwenTiktoken(
  text: string,
  { path, templates = new Map() }: { path: string; templates?: ReadonlyMap<string, string> },
): Tokenizer {
  const ranks = parseRanks(text, path);
  const special = new Map(SPECIAL_TOKENS.map((name, i) => [name, FIRST_SPECIAL_ID + i]));
  const bytesOf = new Map<number, string>();
  for (const [token, rank] of ranks) bytesOf.set(rank, token);
  for (const [name, id] of special) bytesOf.set(id, name);
  const decode: Tokenizer["decode"] = (ids, { skipSpecialTokens = false, cleanUpSpaces: cleans = false } = {}) => {
    const kept = skipSpecialTokens ? ids.filter((id) => id < FIRST_SPECIAL_ID) : ids;
    const decoded = textOf(kept.map((id) => bytesOf.get(id) ?? "").join(""));
    return cleans ? cleanUpSpaces(decoded) : decoded;
  };
  return {
    encode: (input) => encode(input, ranks, special),
    decode,
    tokenText: (id) => textWithin(decode, id),
    idOf: (token) => special.get(token) ?? ranks.get(utf8(token)),
    vocabularySize: FIRST_SPECIAL_ID + SPECIAL_TOKENS.length,
    eosId: FIRST_SPECIAL_ID,
    specialTokens: { eos: END_OF_TEXT },
    cleansUpSpaces: false,
    chatTemplate: templates.get("default"),
    chatTemplates: templates,
  };
}

/** The UTF-8 bytes of a text, as a string of one character per byte. */
function utf8(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

/** The text of UTF-8 bytes in a string of one character per byte. */
function textOf(bytes: string): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
}

/** Tokens, as strings of one character per byte, and their ranks. */
function parseRanks(file: string, path: string): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const [index, line] of file.split("\n").entries()) {
    if (line.trim() === "") continue;
    const [, base64, rank] = /^([A-Za-z0-9+/]+={0,2}) (\d+)\s*$/.exec(line) ?? [];
    if (base64 === undefined) throw badFile(`${path}:${index + 1}`, 'Expected a line of the form "base64 rank".');
    ranks.set(bytesIn(base64, `${path}:${index + 1}`), Number(rank));
  }
  for (let byte = 0; byte < 256; byte++) {
    if (!ranks.has(String.fromCharCode(byte))) throw badFile(path, `The byte ${byte} has no token; every byte needs one.`);
  }
  return ranks;
}

/** The bytes of a base64 text, as a string of one character per byte. */
function bytesIn(base64: string, where: string): string {
  try {
    return atob(base64);
  } catch {
    throw badFile(where, `"${base64}" is not base64.`);
  }
}

function badFile(where: string, what: string): CheckpointError {
  return new CheckpointError({
    code: "tokenizer-damaged",
    what,
    where,
    fix: "The file is damaged or not a tiktoken vocabulary: fetch it again.",
  });
}

function encode(text: string, ranks: ReadonlyMap<string, number>, special: ReadonlyMap<string, number>): number[] {
  return text
    .normalize("NFC")
    .split(SPECIALS)
    .flatMap((part) => special.get(part) ?? (part.match(PIECES) ?? []).flatMap((piece) => pieceIds(utf8(piece), ranks)));
}

/** Byte-pair merges of one piece, lowest rank first, leftmost of equals first. */
function pieceIds(piece: string, ranks: ReadonlyMap<string, number>): number[] {
  const whole = ranks.get(piece);
  if (whole !== undefined) return [whole];
  // starts[i] is where part i begins; pairRank[i] is the rank of parts i and i + 1 together.
  const starts = Array.from({ length: piece.length + 1 }, (_, i) => i);
  const rankAt = (i: number): number => (i + 2 < starts.length ? (ranks.get(piece.slice(starts[i], starts[i + 2])) ?? Infinity) : Infinity);
  const pairRank = starts.map((_, i) => rankAt(i));
  for (;;) {
    let best = 0;
    for (let i = 1; i < pairRank.length; i++) if (pairRank[i]! < pairRank[best]!) best = i;
    if (pairRank[best] === Infinity) break;
    starts.splice(best + 1, 1);
    pairRank.splice(best + 1, 1);
    pairRank[best] = rankAt(best);
    if (best > 0) pairRank[best - 1] = rankAt(best - 1);
  }
  return starts.slice(0, -1).map((start, i) => ranks.get(piece.slice(start, starts[i + 1]))!);
}
