/** @file The tokenizer of a tokenizer.json, run by @huggingface/tokenizers, with what transformers adds on top of that file:
 *
 *  - tokens named in tokenizer_config.json are special and are recognised in text, even if tokenizer.json does not list them;
 *  - LLaMA-like tokenizers put bos and eos around a text as add_bos_token and add_eos_token say, whatever tokenizer.json says;
 *  - ids without a token decode to nothing. */

import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import * as z from "zod";
import { CheckpointError, messageOf } from "../base/errors.ts";
import { cleanUpSpaces } from "./clean-up.ts";
import { textWithin } from "./token-text.ts";
import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

/** What is used of the engine. Its own type declarations do not resolve in an ES module, so they are stated here. */
interface Engine {
  /** An id is undefined where the vocabulary lacks a token and knows none for unknown text. */
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: readonly number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_vocab(): Map<string, number>;
}

const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]).optional();

/** The fields of tokenizer_config.json (and special_tokens_map.json) that matter here. */
const configSchema = z.object({
  bos_token: token,
  eos_token: token,
  pad_token: token,
  unk_token: token,
  cls_token: token,
  sep_token: token,
  mask_token: token,
  tokenizer_class: z.string().optional(),
  add_bos_token: z.boolean().optional(),
  add_eos_token: z.boolean().optional(),
  clean_up_tokenization_spaces: z.boolean().default(false),
  added_tokens_decoder: z.record(z.string(), z.looseObject({ content: z.string() })).default({}),
});
type Config = z.infer<typeof configSchema>;

const fileSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int(), content: z.string() })).default([]),
  // Old files leave the type out; the engine then tells it by the other fields. It would take any other type for a plain word list.
  model: z.looseObject({ type: z.enum(["BPE", "Unigram", "WordPiece"]).optional(), vocab: z.unknown() }),
  post_processor: z.looseObject({ type: z.string() }).nullish(),
});
type File = z.infer<typeof fileSchema>;

interface Source {
  readonly config: Readonly<Record<string, unknown>>;
  readonly templates: ReadonlyMap<string, string>;
  /** The file, for messages. */
  readonly where: string;
}

/** A tokenizer from the content of tokenizer.json. */
export function createHubTokenizer(content: Readonly<Record<string, unknown>>, { config: raw, templates, where }: Source): Tokenizer {
  const bad = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError({
      code: "tokenizer-damaged",
      what,
      where,
      fix: "Fetch the tokenizer again, or write it anew with the transformers library.",
      cause,
    });
  const file = fileSchema.safeParse(content);
  const parsed = configSchema.safeParse(raw);
  if (!file.success) throw bad(`Not a tokenizer: ${z.prettifyError(file.error)}.`);
  if (!parsed.success) throw bad(`Its tokenizer_config.json or special_tokens_map.json is malformed: ${z.prettifyError(parsed.error)}.`);
  const config = parsed.data;
  const { bos_token: bos, eos_token: eos, pad_token: pad, unk_token: unk } = config;
  let engine: Engine;
  try {
    engine = new HubTokenizer(withSpecialTokens(withBosAndEos(file.data, config), config), raw);
  } catch (error) {
    throw bad(`This tokenizer is of a kind that is not supported: ${messageOf(error)}.`, error);
  }
  const idOf = (name: string | undefined): number | undefined => (name === undefined ? undefined : engine.token_to_id(name));
  const decode = (ids: readonly number[], options?: DecodeOptions): string =>
    decoded(engine, ids, { cleanUpSpaces: config.clean_up_tokenization_spaces, ...options });
  return {
    encode: (text, { addSpecialTokens = true } = {}) => encoded(engine, text, { addSpecialTokens, where }),
    decode,
    tokenText: (id) => textWithin(decode, id),
    idOf,
    vocabularySize: 1 + [...engine.get_vocab().values()].reduce((highest, id) => Math.max(highest, id), -1),
    bosId: idOf(bos),
    eosId: idOf(eos),
    padId: idOf(pad),
    unkId: idOf(unk),
    specialTokens: { bos, eos, pad, unk },
    cleansUpSpaces: config.clean_up_tokenization_spaces,
    chatTemplate: templates.get("default"),
    chatTemplates: templates,
  };
}

function encoded(engine: Engine, text: string, { addSpecialTokens, where }: { addSpecialTokens: boolean; where: string }): number[] {
  const { ids, tokens } = engine.encode(text, { add_special_tokens: addSpecialTokens });
  const known = ids.filter((id) => id !== undefined);
  if (known.length === ids.length) return known;
  throw new CheckpointError({
    code: "tokenizer-damaged",
    what: `The vocabulary has no token for ${JSON.stringify(tokens[ids.indexOf(undefined)])}, nor one for unknown text.`,
    where,
    fix: "The tokenizer is incomplete: fetch it again from where the model came from.",
  });
}

function decoded(engine: Engine, ids: readonly number[], options: DecodeOptions): string {
  const known = ids.filter((id) => engine.id_to_token(id) !== undefined);
  if (known.length === 0) return "";
  const text = engine.decode(known, { skip_special_tokens: options.skipSpecialTokens ?? false, clean_up_tokenization_spaces: false });
  return options.cleanUpSpaces ? cleanUpSpaces(text) : text;
}

/** tokenizer.json with every special token of the config among its added tokens, and marked special. */
function withSpecialTokens(file: File, config: Config): File {
  const { bos_token, eos_token, pad_token, unk_token, cls_token, sep_token, mask_token } = config;
  const names = new Set([bos_token, eos_token, pad_token, unk_token, cls_token, sep_token, mask_token]);
  const added = new Map(file.added_tokens.map((entry) => [entry.content, entry]));
  for (const [id, entry] of Object.entries(config.added_tokens_decoder)) {
    if (!added.has(entry.content)) added.set(entry.content, { ...entry, id: Number(id) });
  }
  const vocabulary = vocabularyOf(file);
  for (const name of names) {
    if (name === undefined) continue;
    const known = added.get(name);
    const id = known?.id ?? vocabulary(name);
    if (id !== undefined)
      added.set(name, { single_word: false, lstrip: false, rstrip: false, normalized: false, ...known, id, content: name, special: true });
  }
  return { ...file, added_tokens: [...added.values()] };
}

/** Looks up ids in the model's vocabulary: an object of ids, or Unigram's list of [token, score]. */
function vocabularyOf({ model: { vocab } }: File): (name: string) => number | undefined {
  if (Array.isArray(vocab)) {
    return (name) => {
      const at = vocab.findIndex((entry) => Array.isArray(entry) && entry[0] === name);
      return at < 0 ? undefined : at;
    };
  }
  const ids = new Map(Object.entries(typeof vocab === "object" && vocab !== null ? vocab : {}));
  return (name) => {
    const id: unknown = ids.get(name);
    return typeof id === "number" ? id : undefined;
  };
}

/** tokenizer.json with the post-processor that LLaMA-like classes of transformers build from add_bos_token and add_eos_token. */
function withBosAndEos(file: File, config: Config): File {
  const { add_bos_token: addBos, add_eos_token: addEos, tokenizer_class: kind = "" } = config;
  if (!/^(Llama|CodeLlama|Gemma|Cohere)Tokenizer(Fast)?$/.test(kind)) return file;
  if ((addBos === undefined && addEos === undefined) || (file.post_processor && file.post_processor.type !== "TemplateProcessing"))
    return file;
  const special = (name: string | undefined, wanted: boolean): object[] =>
    wanted && name !== undefined ? [{ SpecialToken: { id: name, type_id: 0 } }] : [];
  const around = (sequence: "A" | "B"): object[] => [
    ...special(config.bos_token, addBos ?? true),
    { Sequence: { id: sequence, type_id: 0 } },
    ...special(config.eos_token, addEos ?? false),
  ];
  return {
    ...file,
    post_processor: { type: "TemplateProcessing", single: around("A"), pair: [...around("A"), ...around("B")], special_tokens: {} },
  };
}
