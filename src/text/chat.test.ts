import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import golden from "../../tests/golden/chat/renderings.json" with { type: "json" };
import { CheckpointError, DataError } from "../base/errors.ts";
import { type ChatMessage, renderChat } from "./chat.ts";
import { loadChatTemplates, loadTokenizer } from "./load-tokenizer.ts";
import type { SpecialTokens, Tokenizer } from "./tokenizer.ts";

const here = (path: string): string => new URL(path, import.meta.url).pathname;
const SHARED = here("../../../shared/tokenizers/");
const SCRIPT = "tests/golden/chat/make.py";

/** The golden's special tokens, by Skein's names. */
function specialOf(tokens: Readonly<Record<string, string>>): SpecialTokens {
  return Object.fromEntries(Object.entries(tokens).map(([name, token]) => [name.replace("_token", ""), token]));
}

async function templateOf(model: string): Promise<ReadonlyMap<string, string>> {
  if (model === "chat") return new Map([["default", await readFile(here("../../tests/golden/chat/chatml.jinja"), "utf8")]]);
  const config = JSON.parse(await readFile(`${SHARED}${model}/tokenizer_config.json`, "utf8"));
  return loadChatTemplates(SHARED + model, config);
}

describe("renders as Python's Jinja does", () => {
  for (const [model, { special, renderings }] of Object.entries(golden.models)) {
    const isThere = model === "chat" || existsSync(SHARED + model);
    test.skipIf(!isThere)(`${model}${isThere ? "" : " (skipped: this tokenizer is not on this machine)"}`, async () => {
      const tokenizer = { chatTemplates: await templateOf(model), specialTokens: specialOf(special) };
      for (const [i, wanted] of renderings.entries()) {
        const { messages, add_generation_prompt: addGenerationPrompt = false, tools = [] } = golden.cases[i]!;
        const render = (): string => renderChat(tokenizer, messages, { addGenerationPrompt, tools });
        if (wanted.text === undefined) expect(render, SCRIPT).toThrow(DataError);
        else expect(render(), `${SCRIPT}, case ${i}`).toBe(wanted.text);
      }
    });
  }
});

const TINY = here("../../tests/golden/tokenizers/tinystories");
const CONVERSATION: readonly ChatMessage[] = [
  { role: "user", content: "One day" },
  { role: "assistant", content: "a little girl" },
  { role: "user", content: "She" },
  { role: "assistant", content: "was happy" },
];

async function withTemplate(template: string): Promise<Tokenizer> {
  return { ...(await loadTokenizer(TINY)), chatTemplates: new Map([["default", template]]) };
}

describe("refused with a reason", () => {
  test("a model without a template", async () => {
    const tokenizer = await loadTokenizer(TINY);
    expect(() => renderChat(tokenizer, CONVERSATION)).toThrow(/no chat template[\s\S]*chat_template.jinja/);
  });

  test("a template that is no Jinja", async () => {
    const tokenizer = await withTemplate("{% for %}");
    expect(() => renderChat(tokenizer, CONVERSATION)).toThrow(CheckpointError);
  });

  test("a conversation the template refuses, in the template's words", async () => {
    const tokenizer = await withTemplate("{{ raise_exception('geese only') }}");
    expect(() => renderChat(tokenizer, CONVERSATION)).toThrow(/geese only[\s\S]*user, assistant/);
  });
});

test("with tools the template called tool_use is chosen when there is one", () => {
  const templates = new Map([
    ["default", "plain"],
    ["tool_use", "{{ tools | length }} tools"],
  ]);
  const tokenizer = { chatTemplates: templates, specialTokens: {} };
  expect(renderChat(tokenizer, [], { tools: [{ type: "function" }] })).toBe("1 tools");
  expect(renderChat(tokenizer, [])).toBe("plain");
});
