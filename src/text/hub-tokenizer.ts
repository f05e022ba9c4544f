/** @file The tokenizer of a tokenizer.json. The models and decoders are those of @huggingface/tokenizers; the steps before the model are
 *  in engine/. Like transformers, it adds to that file:
 *
 *  - tokens in tokenizer_config.json are special and are recognized in text, even if tokenizer.json does not list them;
 *  - LLaMA-like tokenizers add bos and eos as add_bos_token and add_eos_token say, and ignore the post-processor of tokenizer.json;
 *  - ids without a token decode to nothing. */

import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import * as z from "zod";
import { CheckpointError, messageOf } from "../base/errors.ts";
import { cleanUpSpaces } from "./clean-up.ts";
import type { AddedToken } from "./engine/added-tokens.ts";
import { createEncoder, type Encoder, type Model, UnknownToken } from "./engine/encoder.ts";
import { textWithin } from "./token-text.ts";
import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

/** The part of the engine that is used here. Its own type declarations do not resolve in an ES module. */
interface Engine {
  readonly model: Model;
  readonly decoder: Decoder | null;
  decode(ids: readonly number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  id_to_token(id: number): string | undefined;
  get_vocab(): Map<string, number>;
}

interface Decoder {
  readonly decoders?: readonly Decoder[];
  text_decoder?: InstanceType<typeof TextDecoder>;
}

const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]).optional();

const flag = z.boolean().optional();
const addedSchema = z.looseObject({
  id: z.int(),
  content: z.string(),
  single_word: flag,
  lstrip: flag,
  rstrip: flag,
  normalized: flag,
  special: flag,
});

/** The fields of tokenizer_config.json (and special_tokens_map.json) that matter here. */
const configSchema = z.object({
  bos_token: token,
  eos_token: token,
  pad_token: token,
  unk_token: token,
  cls_token: token,
  sep_token: token,
  mask_token: token,
  additional_special_tokens: z.array(token).nullish(),
  tokenizer_class: z.string().optional(),
  add_bos_token: z.boolean().optional(),
  add_eos_token: z.boolean().optional(),
  clean_up_tokenization_spaces: z.boolean().default(false),
  added_tokens_decoder: z.record(z.string(), addedSchema.omit({ id: true })).default({}),
});
type Config = z.infer<typeof configSchema>;

const fileSchema = z.looseObject({
  added_tokens: z.array(addedSchema).default([]),
  // Old files have no type; the engine then finds it by the other fields. It would treat an unknown type as a plain word list.
  model: z.looseObject({ type: z.enum(["BPE", "Unigram", "WordPiece"]).optional(), vocab: z.unknown() }),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  post_processor: z.unknown(),
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
  let encode: Encoder;
  const addedIds = new Map<string, number>();
  try {
    const vocabulary = vocabularyOf(file.data);
    const whole = withBosAndEos(withSpecialTokens(file.data, config, vocabulary), config);
    for (const { content: name, id } of whole.added_tokens) addedIds.set(name, id);
    // The steps before and after the model are in engine/.
    engine = new HubTokenizer({ decoder: null, ...whole, normalizer: null, pre_tokenizer: null, post_processor: null }, raw);
    keepByteOrderMarks(engine.decoder);
    for (const name of addedIds.keys()) restore(engine.model, name, idIn(vocabulary, name));
    encode = createEncoder({ model: engine.model, file: whole, addedTokens: whole.added_tokens.map(addedToken) });
  } catch (error) {
    throw bad(`This tokenizer is of a kind that is not supported: ${messageOf(error)}.`, error);
  }
  const idOf = (name: string | undefined): number | undefined =>
    name === undefined ? undefined : (addedIds.get(name) ?? engine.model.tokens_to_ids.get(name));
  const decode = (ids: readonly number[], options?: DecodeOptions): string =>
    decoded(engine, ids, { cleanUpSpaces: config.clean_up_tokenization_spaces, ...options });
  return {
    encode: (text, { addSpecialTokens = true } = {}) => encoded(encode, text, { addSpecialTokens, where }),
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

function encoded(encode: Encoder, text: string, { addSpecialTokens, where }: { addSpecialTokens: boolean; where: string }): number[] {
  try {
    return [...encode(text, { addSpecialTokens })];
  } catch (error) {
    if (!(error instanceof UnknownToken)) throw error;
    throw new CheckpointError({
      code: "tokenizer-damaged",
      what: `The vocabulary has no token for ${JSON.stringify(error.token)}, nor one for unknown text.`,
      where,
      fix: "The tokenizer is incomplete: fetch it again from where the model came from.",
      cause: error,
    });
  }
}

/** The flags, with the Rust library's defaults. */
function addedToken({ id, content, single_word, lstrip, rstrip, normalized, special }: File["added_tokens"][number]): AddedToken {
  const flags = { single_word: single_word ?? false, lstrip: lstrip ?? false, rstrip: rstrip ?? false };
  return { id, content, ...flags, normalized: normalized ?? !special };
}

/** Undoes the engine's change to the model's vocabulary: it adds the added tokens there, and the model would find them inside words. */
function restore({ tokens_to_ids }: Model, name: string, id: number | undefined): void {
  if (id === undefined) tokens_to_ids.delete(name);
  else tokens_to_ids.set(name, id);
}

/** Keeps a byte order mark made of byte tokens; the engine drops it. */
function keepByteOrderMarks(decoder: Decoder | null): void {
  if (decoder?.text_decoder) decoder.text_decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  for (const part of decoder?.decoders ?? []) keepByteOrderMarks(part);
}

function decoded(engine: Engine, ids: readonly number[], options: DecodeOptions): string {
  const known = ids.filter((id) => engine.id_to_token(id) !== undefined);
  if (known.length === 0) return "";
  const text = engine.decode(known, { skip_special_tokens: options.skipSpecialTokens ?? false, clean_up_tokenization_spaces: false });
  return options.cleanUpSpaces ? cleanUpSpaces(text) : text;
}

/** tokenizer.json with every special token of the config as an added token that is marked special. */
function withSpecialTokens(file: File, config: Config, vocabulary: Vocabulary): File {
  const { bos_token, eos_token, pad_token, unk_token, cls_token, sep_token, mask_token } = config;
  const others = config.additional_special_tokens ?? [];
  const names = new Set([bos_token, eos_token, pad_token, unk_token, cls_token, sep_token, mask_token, ...others]);
  const added = new Map(file.added_tokens.map((entry) => [entry.content, entry]));
  for (const [id, entry] of Object.entries(config.added_tokens_decoder)) {
    if (!added.has(entry.content)) added.set(entry.content, { ...entry, id: Number(id) });
  }
  for (const name of names) {
    if (name === undefined) continue;
    const known = added.get(name);
    const id = known?.id ?? idIn(vocabulary, name);
    if (id !== undefined)
      added.set(name, { single_word: false, lstrip: false, rstrip: false, normalized: false, ...known, id, content: name, special: true });
  }
  // A token that the model has too keeps the model's id, whatever the file says.
  return { ...file, added_tokens: [...added.values()].map((entry) => ({ ...entry, id: idIn(vocabulary, entry.content) ?? entry.id })) };
}

type Vocabulary = ReadonlyMap<string, unknown>;

/** The ids of the model's vocabulary: an object of ids, or Unigram's list of [token, score]. */
function vocabularyOf({ model: { vocab } }: File): Vocabulary {
  if (Array.isArray(vocab)) return new Map(vocab.map((entry: unknown, id) => [String(Array.isArray(entry) ? entry[0] : entry), id]));
  return new Map(Object.entries(typeof vocab === "object" && vocab !== null ? vocab : {}));
}

function idIn(vocabulary: Vocabulary, name: string): number | undefined {
  const id = vocabulary.get(name);
  return typeof id === "number" ? id : undefined;
}

/** tokenizer.json with its post-processor replaced by the one that LLaMA-like classes of transformers build from add_bos_token and
 *  add_eos_token (reference: transformers, models/llama/tokenization_llama_fast.py, update_post_processor). */
function withBosAndEos(file: File, config: Config): File {
  const { add_bos_token: addBos, add_eos_token: addEos, tokenizer_class: kind = "" } = config;
  if (!/^(Llama|CodeLlama|Gemma|Cohere)Tokenizer(Fast)?$/.test(kind)) return file;
  if (addBos === undefined && addEos === undefined) return file;
  const ids = new Map(file.added_tokens.map(({ content, id }) => [content, id]));
  const special = (name: string | undefined, wanted: boolean): string[] => (wanted && name !== undefined && ids.has(name) ? [name] : []);
  const [before, behind] = [special(config.bos_token, addBos ?? true), special(config.eos_token, addEos ?? false)];
  const part = (id: string): object => ({ SpecialToken: { id, type_id: 0 } });
  return {
    ...file,
    post_processor: {
      type: "TemplateProcessing",
      single: [...before.map(part), { Sequence: { id: "A", type_id: 0 } }, ...behind.map(part)],
      special_tokens: Object.fromEntries([...before, ...behind].map((id) => [id, { id, ids: [ids.get(id)] }])),
    },
  };
}
