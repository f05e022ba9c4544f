import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../../tests/temporary-folder.ts";
import { alpacaPrompt } from "../../data/chat-data.ts";
import { readTasks } from "./read-task.ts";

describe("the tasks of a file are told by what is in it", () => {
  const { folder, write } = temporaryFolder();
  const lines = (...rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join("\n");
  const kinds: readonly [string, string, string, object, object][] = [
    [
      "own rows",
      "own.jsonl",
      lines({ input: "a", target: "b" }),
      { kind: "generate_until", metrics: ["exact_match"] },
      { input: "a", target: "b" },
    ],
    [
      "BIG-Bench Hard",
      "navigate.json",
      JSON.stringify({ canary: "c", examples: [{ input: "q\nOptions:\n- Yes\n- No", target: "No" }] }),
      { name: "navigate", kind: "multiple_choice" },
      { choices: ["Yes", "No"], label: 1 },
    ],
    [
      "BIG-bench task.json",
      "task.json",
      JSON.stringify({ name: "sums", metrics: ["multiple_choice_grade"], examples: [{ input: "1+1", target_scores: { "2": 1, "3": 0 } }] }),
      { name: "sums", kind: "multiple_choice", metrics: ["acc"] },
      { target: "2" },
    ],
    [
      "BIG-bench rows",
      "rows.jsonl",
      lines({ inputs: "q", targets: ["x"], multiple_choice_targets: ["x", "y"], multiple_choice_scores: [1, 0] }),
      { kind: "multiple_choice" },
      { input: "q\nAnswer:", labels: [0] },
    ],
    [
      "Natural Instructions",
      "task1.json",
      JSON.stringify({ Definition: ["Say it."], Instances: [{ id: "i", input: "hi", output: ["ho"] }] }),
      { name: "task1", metrics: ["rougeL_ni"] },
      { target: "ho" },
    ],
    [
      "P3",
      "p3.jsonl",
      lines({ inputs_pretokenized: " in ", targets_pretokenized: " out " }),
      { kind: "generate_until" },
      { input: "in", target: "out" },
    ],
    [
      "T0's lines",
      "t0.jsonl",
      lines({ prompt: "p", completion: "c<|endoftext|>" }),
      { kind: "generate_until" },
      { input: "p", target: "c" },
    ],
    [
      "Alpaca",
      "alpaca.json",
      JSON.stringify([{ instruction: "Do", input: "it", output: "done" }]),
      { metrics: ["rougeL"] },
      { input: alpacaPrompt("Do", "it"), target: "done" },
    ],
    [
      "OpenAI messages",
      "chat.jsonl",
      lines({
        messages: [
          { role: "system", content: "s" },
          { role: "user", content: "u" },
          { role: "assistant", content: "a" },
        ],
      }),
      { metrics: ["rougeL"] },
      { input: "s\n\nu", target: "a" },
    ],
    ["plain texts", "text.jsonl", lines({ text: "all of it" }), { kind: "loglikelihood_rolling" }, { target: "all of it" }],
    [
      "JSON lines named .json",
      "lines.json",
      lines({ input: "a", target: "b" }, { input: "c", target: "d" }),
      { kind: "generate_until" },
      { target: "b" },
    ],
  ];

  test.each(kinds)("%s", async (_, name, content, task, example) => {
    const [read] = await readTasks(await write(name, content));
    expect(read).toMatchObject(task);
    expect(read?.examples[0]).toMatchObject(example);
  });

  test("a benchmark recipe, and a task of lm-evaluation-harness with its data in a folder or elsewhere", async () => {
    await write("data/mine/test.jsonl", lines({ input: "a", target: "b" }));
    const recipe = await write(
      "recipe.yaml",
      "name: r\ndescription: d\ntasks:\n  - { name: one, dataset: mine, splits: [test], reader: { kind: jsonl }, task: generate_until, metrics: [exact_match] }\n",
    );
    expect(await readTasks(recipe, { dataFolder: `${folder}/data` })).toMatchObject([{ name: "one", examples: [{ target: "b" }] }]);
    const yaml =
      'task: two\ndataset_path: mine\ntest_split: test\noutput_type: generate_until\ndoc_to_text: "{{input}}"\ndoc_to_target: "{{target}}"\n';
    const harness = await write("two.yaml", yaml);
    const elsewhere = async () => [`${folder}/data/mine/test.jsonl`];
    expect(await readTasks(harness, { dataFolder: `${folder}/data` })).toMatchObject([{ name: "two", examples: [{ input: "a" }] }]);
    expect(await readTasks(harness, { elsewhere })).toMatchObject([{ name: "two", examples: [{ input: "a" }] }]);
    expect(await rejection(readTasks(await write("elsewhere/two.yaml", yaml)))).toMatchObject({ name: "DataError" });
  });

  test("chats are written by the model's own template, its first special token among it", async () => {
    const file = await write(
      "templated.jsonl",
      lines({
        messages: [
          { role: "user", content: "u" },
          { role: "assistant", content: "a" },
        ],
      }),
    );
    const tokenizer = {
      chatTemplates: new Map([
        [
          "default",
          "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ],
      ]),
      specialTokens: { bos: "<s>" },
    };
    const [task] = await readTasks(file, { tokenizer: tokenizer as never });
    expect(task?.examples[0]).toMatchObject({ input: "<s><user>u<assistant>", isRendered: true, target: "a" });
  });

  test("a folder gives all its files, in order; an empty one says so", async () => {
    await write("many/b.jsonl", lines({ input: "a", target: "b" }));
    await write("many/a.jsonl", lines({ input: "a", target: "b" }));
    await write("many/notes.txt", "no task");
    expect((await readTasks(`${folder}/many`)).map(({ name }) => name)).toEqual(["a", "b"]);
    await write("none/notes.txt", "no task");
    expect(await rejection(readTasks(`${folder}/none`))).toMatchObject({ what: expect.stringContaining("no task") });
  });

  test("what is no task is refused by file and line", async () => {
    const file = await write("odd.jsonl", lines({ question: "?" }));
    expect(await rejection(readTasks(file))).toMatchObject({
      name: "DataError",
      what: expect.stringContaining("question"),
      where: `${file}, line 1`,
      fix: expect.stringContaining("YAML"),
    });
    const headless = await write("headless.tsv", `${"What is it? ".repeat(20)}\tyes\nAnd that?\tno\n`);
    expect(await rejection(readTasks(headless))).toMatchObject({ what: expect.stringMatching(/: What is it\?.{28,40}…, yes\.$/) });
  });

  test("an empty answer is refused by file and line", async () => {
    const file = await write("empty.jsonl", lines({ instruction: "Do it", output: "done" }, { instruction: "Do it", output: "" }));
    expect(await rejection(readTasks(file))).toMatchObject({ what: expect.stringContaining("empty"), where: `${file}, line 2` });
  });
});
