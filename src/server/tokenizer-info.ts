/** @file What clients with a tokenizer of their own need to know of ours, in the words of tokenizer_config.json. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { TokenizerInfo } from "./backend.ts";

export async function tokenizerInfo(directory: string, tokenizer: Tokenizer): Promise<TokenizerInfo> {
  const file = await readFile(join(directory, "tokenizer_config.json"), "utf8").catch(() => "{}");
  const config: unknown = JSON.parse(file);
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  return {
    ...(typeof config === "object" ? config : {}),
    bos_token: bos ?? null,
    eos_token: eos ?? null,
    pad_token: pad ?? null,
    unk_token: unk ?? null,
    bos_token_id: tokenizer.bosId ?? null,
    eos_token_id: tokenizer.eosId ?? null,
    pad_token_id: tokenizer.padId ?? null,
    vocab_size: tokenizer.vocabularySize,
    chat_template: tokenizer.chatTemplate ?? null,
  };
}
