import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../tests/temporary-folder.ts";
import type { Chat } from "./chat-data.ts";
import { readTrainingExamples } from "./training-data.ts";

const { write } = temporaryFolder();
const user = { role: "user", content: "2+2?" };
const answer = { role: "assistant", content: "4" };

async function read(...rows: readonly unknown[]): Promise<{ chats: Chat[]; warnings: string[] }> {
  const warnings: string[] = [];
  const lines = rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row)));
  const path = await write("chats.jsonl", lines.join("\n"));
  const chats = (await readTrainingExamples(path, { onWarning: (text) => warnings.push(text) })) as Chat[];
  return { chats, warnings };
}
type Call = Readonly<Record<string, unknown>>;
/** The first call of the assistant's message. */
function callOf(chat: Chat | undefined): Call {
  const [call] = chat!.messages[1]!.tool_calls as (Call & { function?: Call })[];
  return call!.function ?? call!;
}

describe("a turn of the assistant", () => {
  test.each([
    ["weight 0", { weight: 0 }],
    ["loss false", { loss: false }],
    ["train false", { train: false }],
    ["weight 0.0", { weight: 0.0 }],
  ])("with %s is read, not learned", async (_, off) => {
    const { chats } = await read({ messages: [user, { ...answer, ...off }, user, { ...answer, weight: 1, loss: true }] });
    expect(chats[0]).toMatchObject({ unlearned: [1] });
    const shareGpt = [
      { from: "human", value: "2+2?" },
      { from: "gpt", value: "5", ...off },
      { from: "human", value: "Wrong." },
      { from: "gpt", value: "4" },
    ];
    expect((await read({ conversations: shareGpt })).chats[0]).toMatchObject({ unlearned: [1] });
  });

  test("may be blank where it is not learned", async () => {
    expect((await read({ messages: [user, { role: "assistant", content: "", weight: 0 }, user, answer] })).chats).toHaveLength(1);
  });

  test.each([{ weight: 0.5 }, { loss: "yes" }, { train_detail: [] }])("is refused with %j, by file, line and message", async (given) => {
    const error = await rejection(read({ messages: [user, answer] }, { messages: [user, { ...answer, ...given }] }));
    expect(error).toMatchObject({ what: expect.stringContaining("not"), where: expect.stringMatching(/line 2, message 2$/) });
  });
});

test("what a template may read of a message and a row comes with the chat; nulls count as absent", async () => {
  const row = {
    system: "Be brief.",
    documents: [{ title: "t", text: "d" }],
    chat_template_kwargs: '{"enable_thinking": false}',
    tools: null,
    messages: [
      { ...user, name: "Ann", weight: null },
      { ...answer, reasoning_content: "Two and two make four.", tool_calls: null },
      { role: "function", name: "f", tool_call_id: "1", content: "r" },
    ],
  };
  const { chats, warnings } = await read(row);
  expect(chats[0]).toMatchObject({
    documents: row.documents,
    templateVariables: { enable_thinking: false },
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "2+2?", name: "Ann" },
      { role: "assistant", content: "4", reasoning_content: "Two and two make four." },
      { role: "tool", name: "f", tool_call_id: "1", content: "r" },
    ],
  });
  expect(warnings).toEqual([]);
});

test("what has no meaning is named once, with a count", async () => {
  const messages = [user, { ...answer, refusal: "no", annotations: [] }];
  const { warnings } = await read({ messages, id: 1, source: "s" }, { messages, id: 2 }, { messages: [{ ...user, train: true }, answer] });
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toMatch(
    /are skipped: refusal \(messages: 2\), id \(rows: 2\), source \(rows: 1\), train of role user \(messages: 1\)\./,
  );
});

describe("tools", () => {
  const weather = { name: "weather", parameters: { type: "object", properties: {} } };
  const tool = { type: "function", function: weather };
  test.each([
    ["a list", [tool]],
    ["JSON text", JSON.stringify([tool])],
    ["a list of JSON texts", [JSON.stringify(tool)]],
    ["parameters as JSON text", [{ ...tool, function: { ...weather, parameters: JSON.stringify(weather.parameters) } }]],
  ])("as %s are objects", async (_, tools) => {
    for (const row of [{ messages: [user, answer] }, { prompt: [user], completion: [answer] }]) {
      expect((await read({ ...row, tools })).chats[0]?.tools).toEqual([tool]);
    }
  });

  test("in OpenAI's older spelling get their frame; text that is no JSON is refused", async () => {
    expect((await read({ messages: [user, answer], functions: [weather] })).chats[0]?.tools).toEqual([tool]);
    expect(await rejection(read({ messages: [user, answer], tools: "[{" }))).toMatchObject({ where: expect.stringMatching(/line 1$/) });
  });
});

describe("the arguments of a call", () => {
  const asking = (call: unknown, tools?: unknown) => ({
    messages: [user, { role: "assistant", content: null, tool_calls: [call] }],
    tools,
  });
  test.each([
    ["an object", { city: "Rome" }],
    ["JSON text", '{"city": "Rome"}'],
    ["JSON text of JSON text", JSON.stringify('{"city": "Rome"}')],
  ])("as %s are an object", async (_, given) => {
    expect(
      callOf((await read(asking({ id: "1", type: "function", function: { name: "w", arguments: given } }))).chats[0]).arguments,
    ).toEqual({
      city: "Rome",
    });
    const older = { ...answer, function_call: { name: "w", arguments: given } };
    expect(callOf((await read({ messages: [user, older] })).chats[0])).toEqual({ name: "w", arguments: { city: "Rome" } });
  });

  test("that are empty are an empty object, and those that are no object are refused", async () => {
    expect(callOf((await read(asking({ function: { name: "w", arguments: "" } }))).chats[0]).arguments).toEqual({});
    const error = await rejection(read(asking({ function: { name: "w", arguments: "[1]" } })));
    expect(error).toMatchObject({ what: expect.stringContaining("arguments of a call of w"), where: expect.stringMatching(/message 2$/) });
  });

  test("lose the nulls that column formats fill in, with a warning; those in JSON text stay", async () => {
    const filled = { function: { name: "w", arguments: { city: "Rome", user: null, near: { x: null, y: 1 } } } };
    const { chats, warnings } = await read(asking(filled));
    expect(callOf(chats[0]).arguments).toEqual({ city: "Rome", near: { y: 1 } });
    expect(warnings).toEqual([expect.stringMatching(/Null values.*user \(1\), x \(1\)/)]);
    const own = await read(asking({ function: { name: "w", arguments: '{"city": null}' } }));
    expect(callOf(own.chats[0]).arguments).toEqual({ city: null });
    expect(own.warnings).toEqual([]);
  });

  test.each([
    ["text", JSON.stringify('{"id": 9007199254740993, "t": 20.0, "eps": 1e-05}')],
    ["an object", '{"id": 9007199254740993, "t": 20.0, "eps": 1e-5}'],
  ])("keep the spelling of their numbers, as %s", async (_, json) => {
    const { chats } = await read(
      `{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": ${json}}]}]}`,
    );
    const { id, t } = callOf(chats[0]).arguments as Call;
    expect(`${id} ${t}`).toBe("9007199254740993 20.0");
  });
});

test("messages may be JSON text, as CSV and some columns have them", async () => {
  expect((await read({ messages: JSON.stringify([user, answer]) })).chats[0]?.messages).toEqual([user, answer]);
});

test("a role that is not known is refused by file, line and message", async () => {
  const error = await rejection(read({ messages: [{ role: "narrator", content: "x" }, answer] }));
  expect(error).toMatchObject({ what: expect.stringContaining('"narrator"'), where: expect.stringMatching(/line 1, message 1$/) });
});
