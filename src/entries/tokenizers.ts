/** @file `skein/tokenizers`: text to token ids and back, chat templates, and streaming text from tokens. */

export { type ChatContext, type ChatMessage, type RenderOptions, renderChat } from "../text/chat.ts";
export { loadTokenizer } from "../text/load-tokenizer.ts";
export { type TextStream, type TextStreamOptions, textStream } from "../text/stream.ts";
export type { DecodeOptions, EncodeOptions, SpecialTokens, Tokenizer } from "../text/tokenizer.ts";
