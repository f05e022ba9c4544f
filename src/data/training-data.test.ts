import { expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../tests/temporary-folder.ts";
import { alpacaPrompt } from "./chat-data.ts";
import { readTrainingExamples } from "./training-data.ts";

const { write } = temporaryFolder();
const written = (...rows: readonly unknown[]) => write("data.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));

test("rows of every spelling become examples, in one file", async () => {
  const messages = [
    { role: "user", content: "q" },
    { role: "assistant", content: "a" },
  ];
  const path = await written(
    { input: "i", target: "t", choices: ["t", "u"], id: 3 },
    { prompt: "p", completion: "c" },
    { prompt: "p", completion: " c<|endoftext|>\n" },
    { messages },
    { instruction: "q", output: "a", text: "q and a, as rendered" },
    { text: "whole" },
  );
  expect(await readTrainingExamples(path)).toEqual([
    { kind: "pair", input: "i", target: "t" },
    { kind: "pair", input: "p", target: "c", joined: true },
    { kind: "pair", input: "p", target: " c", joined: true },
    { kind: "messages", messages, where: `${path}, line 4` },
    { kind: "messages", messages, prompt: alpacaPrompt("q"), where: `${path}, line 5` },
    { kind: "text", text: "whole" },
  ]);
});

const user = { role: "user", content: "q" };

test.each([
  ["target", { input: "i", target: "" }],
  ["target", { input: "i", target: " " }],
  ["completion", { prompt: "i", completion: "" }],
  ["completion", { prompt: "i", completion: "<|endoftext|>" }],
  ["output", { instruction: "i", input: "", output: "" }],
  ["assistant's answer", { messages: [user, { role: "assistant", content: "\n" }] }],
  [
    "assistant's answer",
    { messages: [user, { role: "assistant", content: null, tool_calls: [] }, user, { role: "assistant", content: "a" }] },
  ],
  ["text", { text: "" }],
])("an empty %s is an error that names the line: %j", async (what, row) => {
  const path = await written({ input: "i", target: "t" }, row);
  await expect(readTrainingExamples(path)).rejects.toMatchObject({
    name: "DataError",
    what: `The ${what} is empty: there is nothing to learn from.`,
    where: `${path}, line 2`,
  });
});

test("all rows without an answer are named at once", async () => {
  const row = { instruction: "i", output: "" };
  const path = await written(row, { instruction: "i", output: "o" }, ...Array(32).fill(row));
  const error = await rejection(readTrainingExamples(path));
  expect(error).toMatchObject({ where: `${path}, line 1`, fix: expect.stringContaining("leave these 33 rows out") });
  expect(error).toMatchObject({ what: expect.stringMatching(/The same is true of line 3, .*, line 32, 2 more\.$/) });
});

test("a turn that only calls a tool is an answer", async () => {
  const call = { role: "assistant", content: null, tool_calls: [{ type: "function", function: { name: "f", arguments: {} } }] };
  expect(await readTrainingExamples(await written({ messages: [user, call] }))).toHaveLength(1);
});
