/** @file A prompt, and an answer behind it, as token ids.
 *
 *  Some tokenizers end every text with the end of sequence. Behind an encoder that is what the model learned; a decoder-only
 *  model goes on from its prompt, and after an end it would begin something else.
 *
 *  SentencePiece puts a space before every text it reads. Before an answer that is a space too many, wherever prompt and answer have
 *  one of their own: so the answer is read behind the prompt, and its tokens are those that follow the prompt's. */

import type { Tokenizer } from "./tokenizer.ts";

type Ids = Pick<Tokenizer, "encode" | "eosId" | "bosId">;

/** What a model of this kind reads of `prompt`. A decoder-only model's starts with something, be it the token texts start with. */
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
  /** Whether the answer is the prompt's next characters in any case. Else it is where white space stands between the two; without any
   *  it is read on its own, which with SentencePiece makes a word of its own of it. Default false. */
  readonly joined?: boolean | undefined;
}

/** What a decoder-only model says to be told to have answered `answer`, no end of sequence included. */
export function answerIds(tokenizer: Ids, { prompt, answer, joined = false }: Answer): number[] {
  const isJoined = prompt !== "" && (joined || /\s$/.test(prompt) || /^\s/.test(answer));
  // A prompt whose last token changes before the answer ("A: " and "yes") is asked as it is, so only the answer's text decides.
  const ids = isJoined ? (idsBehind(tokenizer, prompt, answer) ?? idsBehind(tokenizer, "\n", answer)) : undefined;
  return ids ?? tokenizer.encode(answer, { addSpecialTokens: false });
}

/** The tokens that `text` has behind `before`; undefined where the two share one. */
function idsBehind(tokenizer: Ids, before: string, text: string): number[] | undefined {
  const [start, whole] = [before, before + text].map((each) => withoutEnd(tokenizer.encode(each), tokenizer)) as [number[], number[]];
  const isKept = whole.length > start.length && start.every((id, i) => id === whole[i]);
  return isKept ? whole.slice(start.length) : undefined;
}

/** The tokens of `text` behind a prompt that a template wrote: those of both together, unless a token would span them. */
export function continuationIds({ encode }: Ids, prompt: string, text: string): number[] {
  const ids = (text: string) => encode(text, { addSpecialTokens: false });
  const [before, whole] = [ids(prompt), ids(prompt + text)];
  if (before.every((id, i) => id === whole[i])) return whole.slice(before.length);
  // Behind a line end, since some tokenizers put a space before a text's first word.
  const [line, behind] = [ids("\n"), ids(`\n${text}`)];
  return line.every((id, i) => id === behind[i]) ? behind.slice(line.length) : ids(text);
}

/** Ids without the end of sequence that the tokenizer puts behind a text; one that the text itself ends with stays. */
export function withoutEnd(ids: number[], tokenizer: Pick<Tokenizer, "encode" | "eosId">): number[] {
  return tokenizer.eosId !== undefined && ids.at(-1) === tokenizer.eosId && addsEnd(tokenizer) ? ids.slice(0, -1) : ids;
}

function addsEnd({ encode, eosId }: Pick<Tokenizer, "encode" | "eosId">): boolean {
  return encode("a").at(-1) === eosId; // no text ends with it by itself but its own spelling
}
