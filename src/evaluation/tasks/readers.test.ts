import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../../tests/temporary-folder.ts";
import { alpacaPrompt, readConversations } from "../../data/chat-data.ts";
import { readRows } from "../../data/rows.ts";
import { readBbhTask } from "./bbh.ts";
import { bigBenchExamples, readBigBenchTask } from "./bigbench.ts";
import { findLabel } from "./find-label.ts";
import { readExamples, readJsonlTask } from "./jsonl.ts";
import { readNaturalInstructionsTask } from "./natural-instructions.ts";
import { completionExamples, p3Examples } from "./p3.ts";

const { write } = temporaryFolder();
const rows = (...values: Record<string, unknown>[]) => values.map((value, i) => ({ value, where: `row ${i + 1}` }));

describe("findLabel", () => {
  test("takes the choice that agrees in most positions", () => {
    expect(
      findLabel(
        [5, 6, 1],
        [
          [5, 7, 1],
          [5, 6, 1],
          [9, 9, 9],
        ],
      ),
    ).toBe(1);
    // Positions are compared one by one, so agreement after a difference counts too.
    expect(
      findLabel(
        [5, 6, 7, 1],
        [
          [5, 6],
          [9, 6, 7, 1],
        ],
      ),
    ).toBe(1);
  });
  test("ties go to the shorter choice, then to the later one", () => {
    expect(
      findLabel(
        [5, 6],
        [
          [5, 9, 9],
          [5, 9],
        ],
      ),
    ).toBe(1);
    expect(
      findLabel(
        [5, 6],
        [
          [5, 9],
          [5, 8],
        ],
      ),
    ).toBe(1);
    expect(findLabel([5], [[5, 1], [5]])).toBe(1);
  });
  test("is -1 without choices", () => expect(findLabel([1], [])).toBe(-1));
});

describe("data files", () => {
  test("JSON lines, also in .json and gzipped, CSV and TSV give the same rows", async () => {
    const lines = '{"a": "x, \\"y\\"", "b": "2"}\n{"a": "line\\nend", "b": ""}\n';
    const expected = [
      { a: 'x, "y"', b: "2" },
      { a: "line\nend", b: "" },
    ];
    const paths = [
      await write("rows.jsonl", lines),
      await write("rows.json", lines),
      await write("rows.jsonl.gz", gzipSync(lines)),
      await write("array.json", JSON.stringify(expected)),
      await write("rows.csv", 'a,b\r\n"x, ""y""",2\r\n"line\nend",\r\n'),
      await write("rows.tsv", 'a\tb\n"x, ""y"""\t2\n"line\nend"\t\n'),
    ];
    for (const path of paths)
      expect(
        (await readRows(path)).map((row) => row.value),
        path,
      ).toEqual(expected);
  });

  test("text that is not UTF-8 is refused with the line", async () => {
    const path = await write("latin1.csv", new Uint8Array([0x61, 0x2c, 0x62, 0x0a, 0x63, 0x2c, 0xe9, 0x0a]));
    expect(await rejection(readRows(path))).toMatchObject({ name: "DataError", what: expect.stringMatching(/not UTF-8.*line 2/) });
  });

  test("an empty dataset, an unknown kind and a missing file are errors", async () => {
    for (const path of [await write("none.jsonl", ""), await write("none.json", "[]"), await write("x.txt", "x"), "/nowhere.jsonl"]) {
      expect(await rejection(readRows(path))).toMatchObject({ name: "DataError", where: path });
    }
  });
});

describe("our own format", () => {
  test("rows become examples with the label of the target among the choices", async () => {
    const path = await write(
      "own.jsonl",
      '{"input": "1+1=", "target": "2", "choices": ["1", "2"]}\n{"input": "q", "target": "1", "choices": ["1"], "id": 4}\n',
    );
    const task = await readJsonlTask(path);
    expect(task).toMatchObject({ name: "own", kind: "multiple_choice", metrics: ["accuracy"] });
    expect(task.examples[0]).toEqual({ input: "1+1=", target: "2", choices: ["1", "2"], label: 1, labels: [1] });
    expect(task.examples[1]?.id).toBe("4");
  });

  test.each([
    ['{"input": "a"}', /target/],
    ['{"input": "a", "target": ""}', /empty/],
    ['{"input": "a", "target": "b", "lable": 1}', /lable/],
    ['{"input": "a", "target": "b", "choices": ["b"], "label": 1}', /label/],
  ])("%s is refused with file and line", async (line, what) => {
    const path = await write("bad.jsonl", `{"input": "a", "target": "b"}\n${line}\n`);
    expect(await rejection(readExamples(path))).toMatchObject({ where: `${path}, line 2`, what: expect.stringMatching(what) });
  });
});

test("BBH options become choices", async () => {
  const lettered = "Which?\nOptions:\n(A) one\n(B) two";
  const dashed = "Valid?\nOptions:\n- valid \n- invalid";
  const task = async (name: string, ...examples: [string, string][]) =>
    readBbhTask(
      await write(`${name}.json`, JSON.stringify({ canary: "c", examples: examples.map(([input, target]) => ({ input, target })) })),
    );
  expect((await task("t1", [lettered, "(B)"])).examples).toEqual([
    { input: `${lettered}\nAnswer:`, target: "(B)", choices: ["(A)", "(B)"], label: 1, labels: [1] },
  ]);
  expect((await task("t2", [dashed, "invalid"])).examples[0]).toMatchObject({ choices: ["valid", "invalid"], label: 1 });
  expect((await task("web_of_lies", ["Does she lie?", "No"])).examples[0]).toMatchObject({ choices: ["Yes", "No"], label: 1 });
  expect(await task("t3", ["2+2 =", "4"])).toMatchObject({ kind: "generate_until", metrics: ["exact_match"] });
});

test("a BIG-bench task.json is formatted as it says, choices in an order that does not give the answer away", async () => {
  const examples = Array.from({ length: 20 }, (_, i) => ({ input: `q${i}`, target_scores: { right: 1, wrong: 0 } }));
  const path = await write("task.json", JSON.stringify({ name: "t", metrics: ["multiple_choice_grade"], task_prefix: "P", examples }));
  const task = await readBigBenchTask(path);
  expect(task).toMatchObject({ kind: "multiple_choice", metrics: ["acc"], choiceScore: "sum" });
  const inputs = task.examples.map((example) => example.input.replace(/q\d+/, "q"));
  const orders = ["P\nQ: q\n  choice: right\n  choice: wrong\nA: ", "P\nQ: q\n  choice: wrong\n  choice: right\nA: "];
  expect([...new Set(inputs)].sort()).toEqual(orders);
  expect(task.examples[3]).toMatchObject({ target: "right", choices: ["right", "wrong"], label: 0 });
  expect(await readBigBenchTask(path)).toEqual(task);
});

test("rows of BIG-bench take the longest target and every choice with score 1", () => {
  const [example] = bigBenchExamples(
    rows({ idx: 3, inputs: "q", targets: ["6", "six"], multiple_choice_targets: ["6", "7", "six"], multiple_choice_scores: [1, 0, 1] }),
  );
  expect(example).toEqual({
    input: "q\nAnswer:",
    target: "six",
    targets: ["6", "six"],
    choices: ["6", "7", "six"],
    label: 2,
    labels: [0, 2],
    id: "3",
  });
});

test("P3 rows, score_eval rows and prompt/completion lines", () => {
  expect(
    p3Examples(rows({ inputs: [1], inputs_pretokenized: "q\n", targets_pretokenized: "\nyes", answer_choices: ["yes", "no"] })),
  ).toEqual([{ input: "q", target: "yes", choices: ["yes", "no"], label: 0, labels: [0] }]);
  const scored = (choice: number, text: string, is_correct: boolean) => ({
    idx: [5, choice],
    inputs_pretokenized: "q",
    targets_pretokenized: text,
    is_correct,
    weight: 1,
  });
  expect(p3Examples(rows(scored(1, "no", true), scored(0, "yes", false)))).toEqual([
    { input: "q", target: "no", choices: ["yes", "no"], label: 1, id: "5" },
  ]);
  expect(completionExamples(rows({ prompt: "q\n", completion: "a<|endoftext|>" }))).toEqual([{ input: "q", target: "a" }]);
  expect(() => completionExamples(rows({ prompt: "q", completion: "<|endoftext|>" }))).toThrow(/empty/);
});

test("Natural Instructions are prompted as Tk-Instruct does", async () => {
  const path = await write(
    "task001.json",
    JSON.stringify({
      Definition: ["Say the opposite"],
      "Positive Examples": [{ input: "hot", output: "cold", explanation: "e" }],
      Instances: [{ id: "i1", input: "big?", output: ["small", "little"] }],
    }),
  );
  expect((await readNaturalInstructionsTask(path)).examples).toEqual([
    {
      input:
        "Definition: Say the opposite.\n\n Positive Example 1 -\nInput: hot.\n Output: cold.\n\nNow complete the following example -\nInput: big?\nOutput: ",
      target: "small",
      targets: ["small", "little"],
      id: "i1",
    },
  ]);
});

describe("chat data", () => {
  test.each([
    [
      "alpaca",
      { instruction: "Add", input: "1 2", output: "3", system: "s", history: [["h", "g"]] },
      [
        ["system", "s"],
        ["user", "h"],
        ["assistant", "g"],
        ["user", "Add\n1 2"],
        ["assistant", "3"],
      ],
    ],
    [
      "sharegpt",
      {
        conversations: [
          { from: "human", value: "q" },
          { from: "gpt", value: "a" },
        ],
      },
      [
        ["user", "q"],
        ["assistant", "a"],
      ],
    ],
    [
      "openai",
      {
        messages: [
          { role: "user", content: [{ type: "text", text: "q" }] },
          { role: "assistant", content: "a" },
        ],
      },
      [
        ["user", "q"],
        ["assistant", "a"],
      ],
    ],
    [
      "trl",
      { prompt: [{ role: "user", content: "q" }], completion: [{ role: "assistant", content: "a" }] },
      [
        ["user", "q"],
        ["assistant", "a"],
      ],
    ],
  ])("%s becomes messages", async (name, row, messages) => {
    const path = await write(`${name}.jsonl`, JSON.stringify(row));
    const expected = messages.map(([role, content]) => ({ role, content }));
    expect(await readConversations(path)).toEqual([{ kind: "messages", messages: expected, where: `${path}, line 1` }]);
  });

  test("a plain prompt stays text, a function call becomes a tool call", async () => {
    expect(await readConversations(await write("p.jsonl", '{"prompt": "q", "completion": "a"}'))).toEqual([
      { kind: "text", prompt: "q", completion: "a" },
    ]);
    const call = {
      conversations: [
        { from: "function_call", value: '{"name": "f", "arguments": {"x": 1}}' },
        { from: "observation", value: "2" },
      ],
    };
    const [conversation] = await readConversations(await write("c.json", JSON.stringify([call])));
    expect(conversation).toMatchObject({
      messages: [
        { role: "assistant", tool_calls: [{ type: "function", function: { name: "f", arguments: { x: 1 } } }] },
        { role: "tool", content: "2" },
      ],
    });
  });

  test("rows without an answer or of an unknown form are refused", async () => {
    const silent = await write("silent.jsonl", '{"messages": [{"role": "user", "content": "q"}]}');
    expect(await rejection(readConversations(silent))).toMatchObject({ name: "DataError", where: `${silent}, line 1` });
    expect(await rejection(readConversations(await write("odd.jsonl", '{"text": "q"}')))).toMatchObject({
      what: expect.stringMatching(/text/),
    });
  });

  test("Alpaca's prompt", () => {
    expect(alpacaPrompt("Add", "1 2")).toContain("### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n");
  });
});
