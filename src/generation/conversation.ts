/** @file A conversation with a chat model. The cache is kept between turns, so that a turn reads only its own tokens. */

import type { Model } from "../inference/model.ts";
import { type ChatContext, type ChatMessage, checkChatTemplate, renderChat } from "../text/chat.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { generate, type Usage } from "./generate.ts";
import { type GenerationOptions, generationSettings } from "./options.ts";
import type { Routes } from "./routes.ts";

/** Options of every answer of a conversation, and its system message. */
export interface ConversationOptions extends GenerationOptions, ChatContext {
  readonly system?: string | undefined;
}

/** A piece of an answer, and the route of its token. */
export interface Piece {
  readonly text: string;
  readonly route?: Routes;
}

/** A conversation with a chat model: `model.chat()` opens one. One answer at a time. */
export class Conversation {
  readonly #model: Model;
  readonly #tokenizer: Tokenizer;
  readonly #system: readonly ChatMessage[];
  readonly #context: ChatContext;
  readonly #options: GenerationOptions;
  #messages: ChatMessage[];
  #usage: Usage | undefined;
  #length = 0;

  /** Throws for a model without a chat template and for invalid options. */
  constructor(model: Model, tokenizer: Tokenizer, options: ConversationOptions = {}) {
    const { system, tools, documents, templateVariables, date = new Date(), ...sampling } = options;
    checkChatTemplate(tokenizer);
    generationSettings(sampling, model.base.checkpoint, tokenizer);
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#system = system === undefined ? [] : [{ role: "system", content: system }];
    this.#context = { tools, documents, templateVariables, date };
    this.#options = { ...sampling, routes: model.woven.experts.length > 0 };
    this.#messages = [...this.#system];
  }

  /** Removes all turns except the system message. */
  reset(): void {
    this.#messages = [...this.#system];
    this.#length = 0;
  }

  /** The usage of the last answer; its prompt is the whole conversation before it. Undefined if the answer was interrupted. */
  get usage(): Usage | undefined {
    return this.#usage;
  }

  /** The number of tokens in the conversation so far. */
  get length(): number {
    return this.#length;
  }

  /** Sends `content` and streams the answer. The part of an interrupted answer that was generated stays in the conversation. After an error
   *  the conversation is unchanged. */
  async *answer(content: string, signal?: AbortSignal): AsyncGenerator<Piece> {
    const asked = [...this.#messages, { role: "user", content }];
    const prompt = this.#tokenizer.encode(renderChat(this.#tokenizer, asked, { ...this.#context, addGenerationPrompt: true }), {
      addSpecialTokens: false,
    });
    const pieces: string[] = [];
    let failed = false;
    this.#usage = undefined;
    try {
      for await (const event of generate(this.#model, this.#tokenizer, prompt, { ...this.#options, signal })) {
        if (event.kind === "completion") this.#usage = event.usage;
        else {
          pieces.push(event.text);
          yield { text: event.text, ...(event.route && { route: event.route }) };
        }
      }
    } catch (error) {
      failed = !signal?.aborted;
      if (failed) throw error;
    } finally {
      if (!failed) {
        this.#messages = [...asked, { role: "assistant", content: pieces.join("") }];
        this.#length = prompt.length + pieces.length;
      }
    }
  }
}
