/** @file The tokens that end a turn of the assistant.
 *
 *  A chat template ends each turn with a token (<|im_end|>). It may differ from the end of sequence in the model's configuration, since
 *  base models are published with the templates of their chat versions. Training teaches the template's token, so generation of a turn
 *  stops at it. */

import { renderChat } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

const known = new WeakMap<Tokenizer["chatTemplates"], readonly number[]>();

/** The token ids that end a turn in the chat template; none without a template, or if it ends turns with plain text. */
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
    return []; // a template that refuses this conversation reports its error when a real conversation is rendered
  }
}

/** How a special token is spelled. Empty for a token that is text. */
export function specialText({ decode }: Pick<Tokenizer, "decode">, id: number): string {
  const isShown = decode([id], { skipSpecialTokens: true, cleanUpSpaces: false }) !== "";
  return isShown ? "" : decode([id], { cleanUpSpaces: false });
}

/** Whether a token is a control token: special, or written like one though the tokenizer does not mark it special (<end_of_turn>). */
export function isControlToken(tokenizer: Pick<Tokenizer, "decode">, id: number): boolean {
  const text = tokenizer.decode([id], { cleanUpSpaces: false });
  return text !== "" && (specialText(tokenizer, id) !== "" || /^<[^<>\s]+>$|^\[[^[\]\s]+\]$/.test(text.trim()));
}

/** The tokens of an answer through the one that ends its turn. What the template writes after it is not generated. */
export function throughTurnEnd(tokenizer: Tokenizer, ids: readonly number[]): readonly number[] {
  const ends = [...turnEndIds(tokenizer), ...(tokenizer.eosId === undefined ? [] : [tokenizer.eosId])];
  const places = [...ends.map((end) => ids.lastIndexOf(end)), ids.findLastIndex((id) => isControlToken(tokenizer, id))];
  const at = places.find((place) => place >= 0 && isBlank(tokenizer, ids.slice(place + 1)));
  return at === undefined ? ids : ids.slice(0, at + 1);
}

/** Whether all tokens are white space or control tokens. */
function isBlank(tokenizer: Tokenizer, ids: readonly number[]): boolean {
  return tokenizer.decode(ids.filter((id) => !isControlToken(tokenizer, id))).trim() === "";
}
