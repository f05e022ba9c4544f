/** @file A request made ready for the scheduler: prompts as ids, settings, the form of the answer. What the model cannot do is refused here,
 *  by the name of its field. */

import { type GenerationSettings, generationSettings, withTurnEnds } from "../generation/options.ts";
import type { Model } from "../inference/model.ts";
import { templateFor } from "../text/chat.ts";
import { turnEndIds } from "../text/turn-end.ts";
import type * as b from "./backend.ts";
import type { EngineParts } from "./engine-parts.ts";
import { badField, RequestProblem } from "./problem.ts";
import { idsOf, toolStyleOf } from "./prompts.ts";
import { callForm, type FunctionTool } from "./tool-style.ts";

/** The ids that the answer begins with. */
export function forcedIds({ model }: EngineParts, { forced = [], form }: b.GenerationRequest): readonly number[] {
  const { vocabularySize } = model.base.architecture;
  const unknown = forced.find((id) => id >= vocabularySize);
  if (unknown !== undefined) throw badField("forced", `Token id ${unknown} is outside the vocabulary of ${vocabularySize}.`);
  if (forced.length > 0 && form) throw badField("forced", "An answer of a given form begins as the form says.");
  return forced;
}

/** What the answer must be: a call that is wanted, or what the request says. */
export function formOf(parts: EngineParts, { prompts, form }: b.GenerationRequest): b.TextForm | undefined {
  const chat = prompts.find((prompt) => "chat" in prompt)?.chat;
  const style = chat?.call && toolStyleFor(parts, prompts);
  return style ? callForm(style, chat.tools as readonly FunctionTool[], chat.call.name) : form;
}

/** How to generate: what the request says, then what the checkpoint says, within the model's context. */
export function settingsFor(
  { tokenizer, contextLength }: EngineParts,
  request: b.GenerationRequest,
  prompts: readonly (readonly number[])[],
  model: Model,
): GenerationSettings {
  const { checkpoint, architecture } = model.base;
  const longest = Math.max(...prompts.map(({ length }) => length));
  const room = architecture.kind === "decoder-only" ? contextLength - longest + 1 : request.tokenLimit;
  const { maxNewTokens = request.tokenLimit, stopIds = [], ...asked } = request.options;
  const samples = checkpoint.generationConfig?.do_sample === true;
  const { vocabularySize } = architecture;
  const unknown = Object.keys(asked.logitBias ?? {}).find((id) => Number(id) >= vocabularySize);
  if (unknown !== undefined) throw badField("logit_bias", `Token id ${unknown} is outside the vocabulary of ${vocabularySize}.`);
  if (stopIds.some((id) => id >= vocabularySize)) throw badField("stop_token_ids", `The vocabulary has ${vocabularySize} tokens.`);
  const options = {
    ...(samples ? {} : { temperature: 1 }), // OpenAI's, where the model names none
    ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)),
    maxNewTokens: Math.min(maxNewTokens, Math.max(1, room)),
    stopIds,
  };
  const turnEnds = [...turnEndIds(tokenizer), ...(model.woven.turnEnds ?? [])];
  return withTurnEnds(generationSettings(options, checkpoint, tokenizer), options, turnEnds);
}

/** A prompt as token ids, all within the vocabulary and the context. */
export function promptIds({ tokenizer, model, contextLength }: EngineParts, input: b.PromptInput): readonly number[] {
  const ids = idsOf(input, tokenizer, model.base.architecture);
  if (ids.length === 0) throw badField("prompt", "The prompt has no tokens.");
  const { vocabularySize } = model.base.architecture;
  const unknown = ids.find((id) => id >= vocabularySize || id < 0);
  if (unknown !== undefined) throw badField("prompt", `Token id ${unknown} is outside the vocabulary of ${vocabularySize}.`);
  if (ids.length <= contextLength) return ids;
  throw new RequestProblem({
    status: 400,
    message: `The prompt has ${ids.length} tokens; the most that this server reads with this model is ${contextLength}.`,
    param: "chat" in input ? "messages" : "prompt",
    code: "context_length_exceeded",
  });
}

/** How the model writes calls; undefined where the prompts offer no tools. */
export function toolStyleFor({ tokenizer }: EngineParts, prompts: readonly b.PromptInput[]): b.ToolStyle | undefined {
  const chat = prompts.find((prompt) => "chat" in prompt)?.chat;
  if (!chat?.tools || chat.tools.length === 0) return undefined;
  return toolStyleOf(templateFor(tokenizer, chat.tools));
}
