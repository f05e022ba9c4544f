/** @file Opens the tokenizer in a model's folder.
 *
 *  A folder holds tokenizer.json (the usual case; read by @huggingface/tokenizers), a *.tiktoken file (Qwen-7B) or a vocab.txt (BERT).
 *  tokenizer_config.json and special_tokens_map.json name the special tokens. chat_template.jinja or tokenizer_config.json holds the chat
 *  templates. */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, messageOf } from "../base/errors.ts";
import { codeOf } from "../checkpoint/atomic.ts";
import { readJsonObject } from "../checkpoint/checkpoint.ts";
import { bertTokenizerJson } from "./bert-vocabulary.ts";
import { parseChatTemplates, TEMPLATE_FILE } from "./chat-template.ts";
import { createHubTokenizer } from "./hub-tokenizer.ts";
import { parseQwenTiktoken } from "./qwen-tiktoken.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Loads the tokenizer in the folder `directory`.
 *  @throws CheckpointError for a folder without a tokenizer that can be read.
 *  @example
 *  import { loadTokenizer } from "skein/tokenizers";
 *
 *  const tokenizer = await loadTokenizer("assets/demo-base");
 *  console.log(tokenizer.decode(tokenizer.encode("hot"), { skipSpecialTokens: true })); // hot */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw new CheckpointError({
      code: "checkpoint-unreadable",
      what: `Cannot open the tokenizer's folder: ${messageOf(error)}.`,
      where: directory,
      fix: "Check the path.",
      cause: error,
    });
  });
  const read = async (name: string): Promise<Readonly<Record<string, unknown>>> =>
    names.includes(name) ? readJsonObject(join(directory, name)) : {};
  // tokenizer_config.json is the newer of the two and takes precedence.
  const config = { ...(await read("special_tokens_map.json")), ...withoutNulls(await read("tokenizer_config.json")) };
  const templates = await loadChatTemplates(directory, config);
  if (names.includes("tokenizer.json")) {
    return createHubTokenizer(await read("tokenizer.json"), { config, templates, where: join(directory, "tokenizer.json") });
  }
  const tiktoken = names.find((name) => name.endsWith(".tiktoken"));
  if (tiktoken !== undefined) {
    const path = join(directory, tiktoken);
    return parseQwenTiktoken(await readFile(path, "latin1"), { path, templates });
  }
  if (names.includes("vocab.txt")) {
    const where = join(directory, "vocab.txt");
    const lowercase = config.do_lower_case !== false;
    const content = bertTokenizerJson(await readFile(where, "utf8"), { lowercase, where });
    return createHubTokenizer(content, { config, templates, where });
  }
  const parts = names.filter((name) => /^(spiece\.model|tokenizer\.model.*|vocab\.json|merges\.txt)$/.test(name));
  throw new CheckpointError({
    code: "tokenizer-missing",
    what: `No tokenizer.json in this folder${parts.length > 0 ? ` (only ${parts.join(", ")})` : ""}.`,
    where: directory,
    fix: "Write one with Python: from transformers import AutoTokenizer; AutoTokenizer.from_pretrained(folder).save_pretrained(folder).",
  });
}

/** The chat templates of the model in `directory`, by name; `config` is its tokenizer_config.json. */
export async function loadChatTemplates(directory: string, config: Readonly<Record<string, unknown>>): Promise<Map<string, string>> {
  const jinja = await readFile(join(directory, TEMPLATE_FILE), "utf8").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  return parseChatTemplates({ config, jinja, where: join(directory, "tokenizer_config.json") });
}

function withoutNulls(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
}
