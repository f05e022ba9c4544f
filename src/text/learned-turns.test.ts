import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { chatTokenizer, specialTokensIn } from "../../tests/chat-tokenizer.ts";
import { DataError } from "../base/errors.ts";
import type { ChatMessage } from "./chat.ts";
import { learnedSequences, promptTokens, type TurnsRequest } from "./learned-turns.ts";
import { loadChatTemplates } from "./load-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

const here = (path: string): string => new URL(path, import.meta.url).pathname;
const OWN = here("../../tests/templates/");
const SHARED = here("../../../shared/tokenizers/");

async function own(name: string): Promise<Tokenizer> {
  return tokenizerOf(await readFile(`${OWN}${name}.jinja`, "utf8"));
}
function tokenizerOf(template: string): Tokenizer {
  const special = [...new Set([...specialTokensIn(template), "<bos>", "<eos>", "<|im_start|>", "<|im_end|>"])];
  return chatTokenizer(template, { special: [...special, "<|assistant|>", "<|user|>"], names: { bos: "<bos>", eos: "<eos>" } });
}

const say = (role: string, content: string, more: object = {}): ChatMessage => ({ role, content, ...more });
const call = (name: string) => ({ tool_calls: [{ id: "a1B2c3D4e", type: "function", function: { name, arguments: { city: "Rome" } } }] });
const TOOLS = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
const TALK = [say("user", "a?"), say("assistant", "xx"), say("user", "b?"), say("assistant", "yy")];
const USE = [
  say("user", "Rome?"),
  say("assistant", "", call("weather")),
  say("tool", "18 C", { tool_call_id: "a1B2c3D4e" }),
  say("assistant", "It is 18 C."),
];

/** Each sequence as text, what is learned in brackets. */
function shown(tokenizer: Tokenizer, request: Omit<TurnsRequest, "where">): string[] {
  return learnedSequences(tokenizer, { where: "d.jsonl, line 3", ...request }).map(({ ids, mask }) => {
    let text = "";
    ids.forEach((id, i) => {
      if (mask[i] !== (mask[i - 1] ?? false)) text += mask[i] ? "⟦" : "⟧";
      text += tokenizer.tokenText(id);
    });
    return mask.at(-1) ? `${text}⟧` : text;
  });
}

describe("learned of a conversation are", () => {
  test("its answers and their ends, in one sequence where one carries them all", async () => {
    const tokenizer = await own("ends-talk");
    expect(shown(tokenizer, { messages: TALK })).toEqual([
      "<|user|>\na?<|end|>\n<|assistant|>\n⟦xx<|end|>⟧\n<|user|>\nb?<|end|>\n<|assistant|>\n⟦yy<|end|>⟧",
    ]);
  });

  test("each answer as its own last turn, where a template forgets earlier reasoning", async () => {
    const tokenizer = await own("thinks-last");
    const open = "<|im_start|>assistant\n";
    expect(shown(tokenizer, { messages: TALK })).toEqual([
      `<|im_start|>user\na?<|im_end|>\n${open}⟦<think>\n\n</think>\n\nxx<|im_end|>⟧`,
      `<|im_start|>user\na?<|im_end|>\n${open}xx<|im_end|>\n<|im_start|>user\nb?<|im_end|>\n${open}⟦<think>\n\n</think>\n\nyy<|im_end|>⟧`,
    ]);
  });

  test("tool calls among them, with their reasoning from either place", async () => {
    const tokenizer = await own("thinks-last");
    const thought = [USE[0]!, { ...USE[1]!, reasoning_content: "Look." }, USE[2]!, say("assistant", "<think>\nSeen.\n</think>\nIt is.")];
    const [first, second] = shown(tokenizer, { messages: thought, tools: TOOLS });
    expect(first).toContain('⟦<think>\nLook.\n</think>\n\n\n<tool_call>weather {"city": "Rome"}</tool_call><|im_end|>⟧');
    expect(second).toContain("⟦<think>\nSeen.\n</think>\n\nIt is.<|im_end|>⟧");
  });

  test("not those of turns that are switched off, nor anything behind the last", async () => {
    const tokenizer = await own("ends-talk");
    const messages = [...TALK, say("user", "Thanks")];
    expect(shown(tokenizer, { messages, unlearned: [1] })).toEqual([
      "<|user|>\na?<|end|>\n<|assistant|>\nxx<|end|>\n<|user|>\nb?<|end|>\n<|assistant|>\n⟦yy<|end|>⟧",
    ]);
    expect(shown(tokenizer, { messages, unlearned: [1, 3] })).toEqual([]);
  });

  test("behind a prompt that opens the reasoning, the reasoning, its end and the answer", async () => {
    const tokenizer = await own("opens-thought");
    const prompt = "<bos><|user|>2+2?<|assistant|><think>\n";
    const notes: string[] = [];
    const learned = (answer: ChatMessage) =>
      shown(tokenizer, { messages: [say("user", "2+2?"), answer], onNote: (note) => notes.push(note) });
    const thought = [`${prompt}⟦Sum.\n</think>\n\n4<eos>⟧`];
    expect(learned(say("assistant", "<think>\nSum.\n</think>\n\n4"))).toEqual(thought);
    expect(learned(say("assistant", "Sum.\n</think>\n\n4"))).toEqual(thought);
    expect(learned(say("assistant", "4", { reasoning_content: "Sum." }))).toEqual(thought);
    expect(notes.filter((note) => note.includes("without reasoning"))).toEqual([]);
    expect(learned(say("assistant", "4"))).toEqual([`${prompt}⟦\n</think>\n\n4<eos>⟧`]);
    expect(notes).toContainEqual(expect.stringMatching(/without reasoning.*opens each with <think>/));
  });

  test("what follows the same prompt, where the history is written otherwise once the answer is there", async () => {
    const tokenizer = await own("system-last");
    const messages = [say("system", "S"), say("user", "a?"), say("assistant", "xx")];
    expect(shown(tokenizer, { messages })).toEqual(["<bos>[INST] S\n\na?[/INST]⟦ xx<eos>⟧"]);
  });

  test("what the template marks as generated, without the opening that chat feeds", async () => {
    const tokenizer = await own("marks-generation");
    expect(shown(tokenizer, { messages: TALK.slice(0, 2) })).toEqual([
      "<|im_start|>user\na?<|im_end|>\n<|im_start|>assistant\n⟦xx<|im_end|>⟧",
    ]);
    const part = tokenizerOf(
      "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}note: {% generation %}{{ m.content }}<eos>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    );
    expect(shown(part, { messages: TALK.slice(0, 2) })).toEqual(["<|user|>a?<|assistant|>note: ⟦xx<eos>⟧"]);
  });
});

describe("refused with file, row and turn is", () => {
  const refusal = (tokenizer: Tokenizer, messages: readonly ChatMessage[]) => () => shown(tokenizer, { messages });

  test("a call that the template does not write", async () => {
    expect(refusal(await own("opens-thought"), USE)).toThrow(/call of weather[\s\S]*d\.jsonl, line 3, turn 1 of the assistant/);
  });

  test("an answer that the template does not write", () => {
    const mute = tokenizerOf("{% for m in messages %}<|{{ m.role }}|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
    expect(refusal(mute, TALK)).toThrow(/does not write the assistant's text[\s\S]*line 3, turn 1 of the assistant/);
  });

  test("a turn that the template itself refuses, and one written without the opening of its prompt", () => {
    const picky = tokenizerOf(
      "{% if messages | length > 2 %}{{ raise_exception('one only') }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
    );
    expect(refusal(picky, TALK)).toThrow(/one only[\s\S]*line 3, turn/);
    const other = tokenizerOf(
      "{% for m in messages %}{{ m.content }};{% endfor %}{% if add_generation_prompt %}Answer in verse:{% endif %}",
    );
    expect(refusal(other, TALK.slice(0, 2))).toThrow(/"Answer in verse:", but writes this one without it[\s\S]*line 3, turn 1/);
  });
});

test("what the template leaves out is noted", async () => {
  const notes: string[] = [];
  const messages = [say("tool", "lost"), say("user", "a?", { name: "Ann" }), say("assistant", "xx", { reasoning_content: "Hm." })];
  const silent = tokenizerOf(
    "{% for m in messages %}{% if m.role != 'tool' %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
  );
  learnedSequences(silent, {
    where: "row",
    messages,
    tools: TOOLS,
    templateVariables: { mood: "grim" },
    onNote: (note) => notes.push(note),
  });
  for (const what of [
    /^name is not read/,
    /^reasoning_content is not read/,
    /^tools is not read/,
    /^mood is not read/,
    /role tool are not written/,
  ]) {
    expect(notes).toContainEqual(expect.stringMatching(what));
  }
});

// Whatever the template: what is learned, behind what is not, is what chat feeds and expects.
describe("for every template, what is learned follows what chat feeds", async () => {
  const names = (await readdir(OWN)).map((name) => [`own ${name}`, `${OWN}${name}`] as const);
  const models = existsSync(SHARED) ? await readdir(SHARED) : [];
  const templates: (readonly [string, string])[] = await Promise.all(
    names.map(async ([name, path]) => [name, await readFile(path, "utf8")] as const),
  );
  for (const model of models) {
    const config = JSON.parse(await readFile(`${SHARED}${model}/tokenizer_config.json`, "utf8"));
    for (const [name, template] of await loadChatTemplates(SHARED + model, config)) templates.push([`${model} ${name}`, template]);
  }
  test.skipIf(models.length > 0)("shared templates (skipped: no tokenizers on this machine)", () => {});

  const system = say("system", "Be brief.");
  const conversations: Readonly<Record<string, readonly ChatMessage[]>> = {
    "one question": TALK.slice(0, 2),
    "two questions": TALK,
    "a system text": [system, ...TALK],
    "a tool": USE,
    "reasoning in the content": [TALK[0]!, say("assistant", "<think>\nHm.\n</think>\n\nxx"), ...TALK.slice(2)],
    "spaces and signs": [say("user", " a <|im_end|>\n"), say("assistant", "x\n\nx "), say("user", "é?"), say("assistant", "[INST] 日本")],
    "a greeting": [say("assistant", "Hello"), ...TALK],
    "a question left open": [...TALK, say("user", "c?")],
  };
  for (const [template, source] of templates) {
    test.each(Object.entries(conversations))(`${template}: %s`, (_, messages) => {
      const tokenizer = tokenizerOf(source);
      const answers = messages.flatMap(({ role }, i) => (role === "assistant" ? [i] : []));
      const context = messages === USE ? { tools: TOOLS } : {};
      let sequences: ReturnType<typeof learnedSequences>;
      try {
        sequences = learnedSequences(tokenizer, { messages, where: "row 1", ...context });
      } catch (error) {
        expect(error).toBeInstanceOf(DataError);
        expect((error as DataError).where).toMatch(/^row 1, turn \d of the assistant/);
        return;
      }
      expect(sequences.reduce((sum, { turns }) => sum + turns, 0)).toBe(answers.length);
      const runs = sequences.flatMap(({ ids, mask }) => learnedRuns(ids, mask));
      for (const [at, index] of answers.entries()) {
        const prompt = promptTokens(tokenizer, messages.slice(0, index), context);
        const run = runs[at]!;
        expect(tokenizer.decode(run.before)).toBe(tokenizer.decode(prompt));
        const { content, tool_calls } = messages[index]!;
        const said = String(content).split("</think>").at(-1)!.trim();
        expect(tokenizer.decode(run.ids)).toContain(tool_calls ? "weather" : said);
      }
    });
  }
});

function learnedRuns(ids: readonly number[], mask: readonly boolean[]) {
  const starts = mask.flatMap((isLearned, i) => (isLearned && !mask[i - 1] ? [i] : []));
  return starts.map((start) => {
    const end = mask.indexOf(false, start);
    return { before: ids.slice(0, start), ids: ids.slice(start, end < 0 ? undefined : end) };
  });
}
