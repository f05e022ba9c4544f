import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../../tests/temporary-folder.ts";
import { filtering, parseFilterList } from "./filters.ts";
import { readLmEvalTask } from "./lm-eval.ts";
import { parseListLiteral } from "./python-literal.ts";

const { folder, write } = temporaryFolder();
await write("org/quiz/test.jsonl", '{"q": "2+2", "options": ["3", "4"], "gold": 1}\n{"q": "1+1", "options": ["2", "5"], "gold": 0}\n');
await write("org/quiz/train.jsonl", '{"q": "0+1", "options": ["1", "0"], "gold": 0}\n{"q": "0+2", "options": ["1", "2"], "gold": 1}\n');
const base = "dataset_path: org/quiz\ntest_split: test\ntraining_split: train\n";
await write("base.yaml", `${base}output_type: multiple_choice\ndoc_to_text: "Q: {{q}}\\nA:"\ndoc_to_target: gold\n`);
const yaml = (name: string, text: string) => write(`${name}.yaml`, text);
const read = async (name: string, text: string) => readLmEvalTask(await yaml(name, text), { sources: { folders: [folder] } });

test("a multiple-choice task, its fields partly included, with choices from a column", async () => {
  const task = await read(
    "quiz",
    "include: base.yaml\ntask: quiz\ndoc_to_choice: options\nmetric_list:\n  - metric: acc\n    aggregation: mean\n",
  );
  expect(task).toMatchObject({ name: "quiz", kind: "multiple_choice", metrics: ["acc"], targetDelimiter: " ", choiceScore: "sum" });
  expect(task.examples).toEqual([
    { input: "Q: 2+2\nA:", target: "4", choices: ["3", "4"], label: 1, id: "0" },
    { input: "Q: 1+1\nA:", target: "2", choices: ["2", "5"], label: 0, id: "1" },
  ]);
});

test("choices from a template that writes a list, and a description", async () => {
  const task = await read(
    "listed",
    `include: base.yaml\ntask: listed\ndescription: "Sums.\\n"\ndoc_to_choice: "['{{options[0]}}', '{{options[1]}}']"\n`,
  );
  expect(task.examples[0]).toMatchObject({ input: "Sums.\nQ: 2+2\nA:", choices: ["3", "4"], label: 1 });
});

test("few-shot examples stand before the question, joined by the delimiters", async () => {
  const text = "include: base.yaml\ntask: shots\ndoc_to_choice: options\nnum_fewshot: 2\nfewshot_config: { sampler: first_n }\n";
  const task = await read("shots", text);
  expect(task.examples[0]?.input).toBe("Q: 0+1\nA: 1\n\nQ: 0+2\nA: 2\n\nQ: 2+2\nA:");
  const drawn = await read("drawn", text.replace("fewshot_config: { sampler: first_n }\n", ""));
  expect(drawn.examples[0]?.input.split("\n\n").slice(0, 2).sort()).toEqual(["Q: 0+1\nA: 1", "Q: 0+2\nA: 2"]);
});

test("a generation task with filters", async () => {
  const task = await read(
    "gen",
    `${base}task: gen
output_type: generate_until
doc_to_text: q
doc_to_target: "{{options[gold]}}"
generation_kwargs: { until: ["\\n"], max_gen_toks: 8, do_sample: false }
filter_list:
  - name: strict
    filter:
      - { function: regex, regex_pattern: "is (\\\\-?[0-9]+)" }
      - { function: take_first }
`,
  );
  expect(task).toMatchObject({ kind: "generate_until", generation: { until: ["\n"], maxTokens: 8 }, metrics: ["exact_match"] });
  expect(task.examples[0]).toMatchObject({ input: "2+2", target: "4" });
  const answer = (text: string) => task.filters?.map(({ filters }) => filtering(filters)(text));
  expect([answer("It is 4, not is 5"), answer("no idea")]).toEqual([["4"], ["[invalid]"]]);
});

test("what exact_match ignores is taken out of both sides; other options of metrics are refused", async () => {
  const text = `include: base.yaml
task: gsm
output_type: generate_until
doc_to_target: "{{options[gold]}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    ignore_case: true
    regexes_to_ignore: [",", "\\\\$", "(?s).*#### "]
`;
  const task = await read("gsm", text);
  expect(filtering(task.exactMatchFilters ?? [])("First\nthen #### $1,234 EUR")).toBe("1234 eur");
  expect(await rejection(read("odd", text.replace("ignore_case", "ignore_color")))).toMatchObject({ name: "DataError" });
});

describe("files that the task names itself", () => {
  const head = "task: f\noutput_type: generate_until\ndoc_to_text: q\ndoc_to_target: gold\ntest_split: test\n";
  const inputs = async (text: string) => (await read("files", head + text)).examples.map(({ input }) => input);

  test("of the format that stands for a dataset", async () => {
    const kwargs = (files: string) => `dataset_path: json\ndataset_kwargs: { data_files: { test: ${files} } }\n`;
    expect(await inputs(kwargs("org/quiz/train.jsonl"))).toEqual(["0+1", "0+2"]);
    expect(await inputs(kwargs(JSON.stringify(`${folder}/org/quiz/train.jsonl`)))).toEqual(["0+1", "0+2"]);
    expect(await inputs(kwargs('["org/*/t[er]*.jsonl"]'))).toEqual(["2+2", "1+1", "0+1", "0+2"]);
    expect(await inputs("dataset_path: json\ndataset_kwargs: { data_dir: org/quiz }\n")).toEqual(["2+2", "1+1"]);
    await expect(inputs(kwargs("https://example.org/x.jsonl"))).rejects.toThrow(/address, which is not fetched/);
    await expect(inputs(kwargs("none.jsonl"))).rejects.toThrow(/not there[\s\S]*none\.jsonl/);
  });

  test("of a dataset", async () => {
    expect(await inputs("dataset_path: org/quiz\ndataset_kwargs: { data_files: { test: train.jsonl } }\n")).toEqual(["0+1", "0+2"]);
    expect(await inputs("dataset_path: org\ndataset_kwargs: { data_dir: quiz }\n")).toEqual(["2+2", "1+1"]);
  });

  test("other arguments are refused by name", async () => {
    await expect(inputs("dataset_path: org/quiz\ndataset_kwargs: { field: data }\n")).rejects.toThrow(/"field"/);
  });
});

describe("refusals", () => {
  test.each([
    ["function", "task: f\nprocess_docs: !function utils.process_docs\n", /process_docs is the Python function utils\.process_docs/],
    ["unknown", "include: base.yaml\ntask: f\ndoc_to_choice: options\ndoc_to_image: x\n", /doc_to_image/],
    [
      "column",
      'include: base.yaml\ntask: f\ndoc_to_choice: options\ndoc_to_text: "{{question}}"\n',
      /uses question.*has q, options, gold/s,
    ],
    ["missing", "include: base.yaml\ntask: f\ndoc_to_choice: options\ndataset_path: org/none\n", /not found/],
    ["label", "include: base.yaml\ntask: f\ndoc_to_choice: [only]\n", /none of the 1 choices/],
    ["circle", "include: circle.yaml\n", /circle/],
  ])("%s", async (name, text, what) => {
    expect(await rejection(read(name, text))).toMatchObject({ name: "DataError", what: expect.stringMatching(what) });
  });

  test("a filter that is not known", () => {
    expect(() => parseFilterList([{ name: "vote", filter: [{ function: "majority_vote" }] }], "x.yaml")).toThrow(/majority_vote/);
  });
});

test("lists in Python's spelling", () => {
  expect(parseListLiteral(`['it\\'s', "a, b", 3, True, None]`)).toEqual(["it's", "a, b", 3, true, null]);
  expect(parseListLiteral("[]")).toEqual([]);
  expect(parseListLiteral('["a",]')).toEqual(["a"]);
  for (const text of ["[a]", "['a'", "['a' 'b']", "x", "['a'] + ['b']"]) expect(parseListLiteral(text), text).toBeUndefined();
});

test("numbers are written as the file spells them, in templates and in columns", async () => {
  await write("org/numbers/test.jsonl", '{"id": 9007199254740993, "t": 20.0, "eps": 1e-05, "row": {"b": [1.0], "a": null}}\n');
  const source = "dataset_path: org/numbers\ntest_split: test\noutput_type: generate_until\n";
  const task = await read("numbers", `${source}task: numbers\ndoc_to_text: "{{id}} {{t}} {{eps}} {{row | tojson}}"\ndoc_to_target: t\n`);
  expect(task.examples[0]).toMatchObject({ input: '9007199254740993 20.0 1e-05 {"a": null, "b": [1.0]}', target: "20.0" });
});
