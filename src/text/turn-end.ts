/** @file The tokens that end a turn of the assistant.
 *
 *  A model's chat template ends each turn with a token (<|im_end|>), which need not be the end of sequence that its configuration
 *  names: base models are published with the templates of their chat siblings. Training teaches the template's token, so
 *  whatever generates a turn stops at it. */

import { renderChat } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

const known = new WeakMap<Tokenizer["chatTemplates"], readonly number[]>();

/** The token ids that end a turn by the chat template; none without a template, or where it ends turns by plain text. */
export function turnEndIds(tokenizer: Tokenizer): readonly number[] {
  const { chatTemplates } = tokenizer;
  if (chatTemplates.size === 0) return [];
  const found = known.get(chatTemplates) ?? probed(tokenizer);
  known.set(chatTemplates, found);
  return found;
}

const ANSWER = "skein-answer";

function probed(tokenizer: Tokenizer): readonly number[] {
  const messages = [
    { role: "user", content: "skein-question" },
    { role: "assistant", content: ANSWER },
  ];
  try {
    const text = renderChat(tokenizer, messages);
    const at = text.lastIndexOf(ANSWER);
    if (at < 0) return [];
    const tail = tokenizer.encode(text.slice(at + ANSWER.length), { addSpecialTokens: false });
    const end = tail.find((id) => isControlToken(tokenizer, id));
    return end === undefined ? [] : [end];
  } catch {
    return []; // a template that does not take this conversation says so where one is rendered in earnest
  }
}

/** Whether a token is no text but a sign: special, or spelled as one where the tokenizer does not mark it special (<end_of_turn>). */
export function isControlToken(tokenizer: Pick<Tokenizer, "decode">, id: number): boolean {
  const text = tokenizer.decode([id], { cleanUpSpaces: false });
  if (text === "") return false;
  return (
    tokenizer.decode([id], { skipSpecialTokens: true, cleanUpSpaces: false }) === "" || /^<[^<>\s]+>$|^\[[^[\]\s]+\]$/.test(text.trim())
  );
}

/** The tokens of an answer up to the one that ends its turn; what a template writes behind it, nobody has to say. */
export function throughTurnEnd(tokenizer: Tokenizer, ids: readonly number[]): readonly number[] {
  const ends = [...turnEndIds(tokenizer), ...(tokenizer.eosId === undefined ? [] : [tokenizer.eosId])];
  const places = [...ends.map((end) => ids.lastIndexOf(end)), ids.findLastIndex((id) => isControlToken(tokenizer, id))];
  const at = places.find((place) => place >= 0 && isBlank(tokenizer, ids.slice(place + 1)));
  return at === undefined ? ids : ids.slice(0, at + 1);
}

/** Whether tokens hold nothing but white space and signs. */
function isBlank(tokenizer: Tokenizer, ids: readonly number[]): boolean {
  return tokenizer.decode(ids.filter((id) => !isControlToken(tokenizer, id))).trim() === "";
}
