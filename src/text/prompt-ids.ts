/** @file A prompt, and the answer that follows it, as token ids.
 *
 *  Some tokenizers end every text with the end of sequence. An encoder-decoder model was trained with it. A decoder-only model
 *  continues its prompt; after an end of sequence it would begin another text.
 *
 *  SentencePiece puts a space before every text. Between a prompt and an answer that have a space already, this is one too many.
 *  Prompt and answer are therefore encoded together, and the answer's tokens are those after the prompt's. */

import type { Tokenizer } from "./tokenizer.ts";

type Ids = Pick<Tokenizer, "encode" | "eosId" | "bosId">;

/** The tokens of `prompt` for a model of this kind. For a decoder-only model there is at least one, if need be the token that starts a text. */
export function promptIds(tokenizer: Ids, kind: "decoder-only" | "encoder-decoder", prompt: string): number[] {
  const ids = tokenizer.encode(prompt);
  if (kind === "encoder-decoder") return ids;
  const open = withoutEnd(ids, tokenizer);
  const start = tokenizer.bosId ?? tokenizer.eosId;
  return open.length === 0 && start !== undefined ? [start] : open;
}

export interface Answer {
  readonly prompt: string;
  readonly answer: string;
  /** True: the answer always continues the prompt's text. False: it does so only where white space separates the two; otherwise it is
   *  encoded alone, so with SentencePiece it starts a new word. Default false. */
  readonly joined?: boolean | undefined;
}

/** The tokens of `answer` as they follow `prompt` in a decoder-only model, without an end of sequence. */
export function answerIds(tokenizer: Ids, { prompt, answer, joined = false }: Answer): number[] {
  const isJoined = prompt !== "" && (joined || /\s$/.test(prompt) || /^\s/.test(answer));
  // If the prompt's last token changes before the answer ("A: " and "yes"), the prompt keeps its tokens and the answer is encoded without it.
  const ids = isJoined ? (idsBehind(tokenizer, prompt, answer) ?? idsBehind(tokenizer, "\n", answer)) : undefined;
  return ids ?? tokenizer.encode(answer, { addSpecialTokens: false });
}

/** The tokens of `text` after `before`; undefined if a token spans both. */
function idsBehind(tokenizer: Ids, before: string, text: string): number[] | undefined {
  const [start, whole] = [before, before + text].map((each) => withoutEnd(tokenizer.encode(each), tokenizer)) as [number[], number[]];
  const isKept = whole.length > start.length && start.every((id, i) => id === whole[i]);
  return isKept ? whole.slice(start.length) : undefined;
}

/** The tokens of `text` after a prompt from a chat template. Both are encoded together, unless a token would span them. */
export function continuationIds({ encode }: Ids, prompt: string, text: string): number[] {
  const ids = (text: string) => encode(text, { addSpecialTokens: false });
  const [before, whole] = [ids(prompt), ids(prompt + text)];
  if (before.every((id, i) => id === whole[i])) return whole.slice(before.length);
  // Encoded after a line end, since some tokenizers put a space before a text's first word.
  const [line, behind] = [ids("\n"), ids(`\n${text}`)];
  return line.every((id, i) => id === behind[i]) ? behind.slice(line.length) : ids(text);
}

/** Ids without the end of sequence that the tokenizer appends. One that is part of the text stays. */
export function withoutEnd(ids: number[], tokenizer: Pick<Tokenizer, "encode" | "eosId">): number[] {
  return tokenizer.eosId !== undefined && ids.at(-1) === tokenizer.eosId && addsEnd(tokenizer) ? ids.slice(0, -1) : ids;
}

function addsEnd({ encode, eosId }: Pick<Tokenizer, "encode" | "eosId">): boolean {
  return encode("a").at(-1) === eosId; // "a" itself does not contain it
}
