/** @file The bytes of each token, read from tokenizer.json: what log-probabilities report, and what a grammar matches.
 *
 *      byte level      GPT-2's characters, one for each byte
 *      byte fallback   <0x0A> is a byte; ▁ is a space
 *      else            ▁ is a space, ## goes on with a word */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { charactersAsBytes } from "../text/engine/byte-characters.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

export type VocabularyKind = "byte_level" | "byte_fallback" | "raw";

export interface Vocabulary {
  readonly kind: VocabularyKind;
  /** As tokenizer.json spells them, by id; undefined for an id without a token. */
  readonly tokens: readonly (string | undefined)[];
  readonly special: ReadonlySet<number>;
  readonly prependsSpace: boolean;
  /** What a token reads as in the middle of a text. */
  textOf(id: number): string;
  bytesOf(id: number): readonly number[];
}

interface File {
  readonly added_tokens?: readonly { readonly id: number; readonly content: string; readonly special?: boolean }[];
  readonly model?: { readonly vocab?: unknown };
  readonly decoder?: unknown;
  readonly normalizer?: unknown;
  readonly pre_tokenizer?: unknown;
}

/** The vocabulary of the tokenizer in a folder. Without tokenizer.json tokens have their text alone. */
export async function readVocabulary(directory: string, tokenizer: Tokenizer): Promise<Vocabulary> {
  const text = await readFile(join(directory, "tokenizer.json"), "utf8").catch(() => undefined);
  return vocabularyOf(text === undefined ? {} : (JSON.parse(text) as File), tokenizer);
}

export function vocabularyOf(file: File, tokenizer: Tokenizer): Vocabulary {
  const tokens: (string | undefined)[] = [];
  const vocab = file.model?.vocab;
  if (Array.isArray(vocab)) for (const [id, entry] of vocab.entries()) tokens[id] = String(Array.isArray(entry) ? entry[0] : entry);
  else for (const [token, id] of Object.entries((vocab ?? {}) as Record<string, number>)) tokens[id] = token;
  const added = new Map((file.added_tokens ?? []).map(({ id, content }) => [id, content]));
  for (const [id, content] of added) tokens[id] = content;
  const special = new Set((file.added_tokens ?? []).filter((token) => token.special).map(({ id }) => id));
  const kind = kindOf(file);
  const bytesOf = (id: number): readonly number[] => {
    const token = added.has(id) ? undefined : tokens[id];
    const own = token === undefined ? undefined : spelledBytes(token, kind);
    return own ?? [...utf8.encode(added.get(id) ?? tokenizer.tokenText(id))];
  };
  const shapes = JSON.stringify([file.normalizer, file.pre_tokenizer]);
  const prependsSpace = /"prepend":"▁"|"add_prefix_space":true|"prepend_scheme":"(?:always|first)"/.test(shapes);
  const textOf = (id: number) => added.get(id) ?? tokenizer.tokenText(id);
  return { kind, tokens, special, prependsSpace, textOf, bytesOf };
}

const utf8 = new TextEncoder();
function kindOf(file: File): VocabularyKind {
  const shapes = JSON.stringify([file.decoder, file.pre_tokenizer]);
  if (/"type":"ByteLevel"/.test(shapes)) return "byte_level";
  return /"type":"ByteFallback"/.test(shapes) ? "byte_fallback" : "raw";
}

/** Undefined where the spelling does not say. */
function spelledBytes(token: string, kind: VocabularyKind): readonly number[] | undefined {
  if (kind === "byte_level") return charactersAsBytes(token);
  const [, hex] = /^<0x([0-9A-Fa-f]{2})>$/.exec(token) ?? [];
  if (kind === "byte_fallback" && hex !== undefined) return [Number.parseInt(hex, 16)];
  return token.includes("▁") ? [...utf8.encode(token.replaceAll("▁", " "))] : undefined;
}
