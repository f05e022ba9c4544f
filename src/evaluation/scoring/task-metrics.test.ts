import { expect, test } from "vitest";
import { corpusBleu } from "../metrics/bleu.ts";
import { standardError } from "../metrics/bootstrap.ts";
import type { Example, Task } from "../tasks/task.ts";
import { type Answer, measured } from "./task-metrics.ts";

const task = (metrics: readonly string[], more: Partial<Task> = {}): Task => ({
  name: "t",
  kind: "generate_until",
  examples: [],
  metrics,
  choiceScore: "token_mean",
  targetDelimiter: "",
  ...more,
});
const said = (text: string, target: string, targets?: readonly string[]) => ({
  example: { input: "", target, ...(targets && { targets }) } satisfies Example,
  answer: { text } satisfies Answer,
});
const answers = [
  said("the cat sat on a mat", "the cat sat on the mat"),
  said("yes", "no", ["no", "yes"]),
  said("a dog ran home today", "a dog ran home today"),
];

test("exact match compares with the first target, its variant with all", () => {
  const { metrics, perExample } = measured(task(["exact_match", "exact_match_multiple_ans"]), answers);
  expect(perExample.map((values) => values.exact_match)).toEqual([0, 0, 1]);
  expect(perExample.map((values) => values.exact_match_multiple_ans)).toEqual([0, 1, 1]);
  expect(metrics.exact_match).toEqual({ value: 1 / 3, stderr: standardError([0, 0, 1]), n: 3 });
});

test("bleu is the corpus's, in 0..1, with a standard error", () => {
  const { metrics, score } = measured(task(["bleu"]), answers);
  const expected = corpusBleu(
    answers.map(({ answer }) => answer.text),
    [["the cat sat on the mat"], ["no", "yes"], ["a dog ran home today"]],
  ).score;
  expect(metrics.bleu!.value).toBeCloseTo(expected / 100, 12);
  expect(metrics.bleu!.stderr).toBeGreaterThan(0);
  expect(score).toEqual(metrics.bleu);
});

test("a task's score is the mean of its metrics, squad's two parts among them", () => {
  const { metrics, score } = measured(task(["squad", "rougeL"]), answers);
  expect(Object.keys(metrics)).toEqual(["squad_exact_match", "squad_f1", "rougeL"]);
  expect(score.value).toBeCloseTo((metrics.squad_exact_match!.value + metrics.squad_f1!.value + metrics.rougeL!.value) / 3, 12);
});

test("each filter gives its own values, and exact_match's own cleaning applies to both sides", () => {
  const filters = [
    { name: "as-is", filters: [] },
    { name: "number", filters: [{ kind: "regex" as const, pattern: "\\d+", group: 0, fallback: "" }] },
  ];
  const { metrics } = measured(task(["exact_match"], { filters }), [said("It is 42.", "42"), said("7", "7")]);
  expect(metrics["exact_match,as-is"]!.value).toBe(0.5);
  expect(metrics["exact_match,number"]!.value).toBe(1);
  const exactMatchFilters = [{ kind: "lowercase" as const }];
  expect(measured(task(["exact_match"], { exactMatchFilters }), [said("YES", "yes")]).metrics.exact_match!.value).toBe(1);
});

test("accuracy follows the task's rule; acc, acc_norm and acc_bytes have their own", () => {
  const likelihood = (sum: number, tokens: number) => ({ sum, tokens, isGreedy: false });
  const example = { input: "", target: "bb bb bb", choices: ["a", "bb bb bb"] };
  const answer = { choices: [likelihood(-2, 1), likelihood(-3, 3)], label: 1, labels: [1] };
  const { metrics } = measured(task(["accuracy", "acc", "acc_norm", "acc_bytes"], { kind: "multiple_choice" }), [{ example, answer }]);
  expect(Object.values(metrics).map(({ value }) => value)).toEqual([1, 0, 1, 1]);
});
