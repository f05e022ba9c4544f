import { describe, expect, test } from "vitest";
import { examples, HELD_OUT_TASKS } from "../demo/tasks.ts";
import { vocabulary } from "../demo/vocabulary.ts";
import type { StudySeed } from "./study.ts";
import { studyReport } from "./study-report.ts";
import { STUDY_HELD_IN, STUDY_HELD_OUT, studyExamples } from "./study-tasks.ts";

describe("the study's tasks", () => {
  test("are sixteen to train on and six others, none of them the demo's held-out ones", () => {
    expect(new Set(STUDY_HELD_IN.map(({ name }) => name)).size).toBe(16);
    expect(new Set(STUDY_HELD_OUT.map(({ name }) => name)).size).toBe(6);
    const demo = new Set(HELD_OUT_TASKS.map(({ name }) => name));
    expect(STUDY_HELD_OUT.filter(({ name }) => demo.has(name))).toEqual([]);
  });

  test("use words that the base knows", () => {
    const known = new Set(vocabulary());
    const made = [
      ...STUDY_HELD_IN.flatMap((task) => studyExamples(task, 100, 1)),
      ...STUDY_HELD_OUT.flatMap((task) => examples(task, "test", 30, 1)),
    ];
    const words = made.flatMap(({ input, target }) => `${input} ${target}`.split(" "));
    expect(words.filter((word) => !known.has(word))).toEqual([]);
  });

  test("share no instruction word, whether trained on, held out or as company that asks for nothing", () => {
    const keywords = STUDY_HELD_IN.map(({ parts }) => parts.flatMap((part) => part.keywords));
    expect(new Set(keywords.flat()).size).toBe(16 * 3);
    for (const [i, task] of STUDY_HELD_IN.entries()) {
      const words = new Set(studyExamples(task, 200, 1).flatMap(({ input }) => input.split(" ")));
      for (const [j, others] of keywords.entries()) {
        if (i !== j)
          expect(
            others.filter((word) => words.has(word)),
            `${task.name} sees words of another`,
          ).toEqual([]);
      }
    }
  });
});

describe("the study's report", () => {
  const seed = (number: number, phatgoose: number, rival: number): StudySeed => {
    const scores = (value: number) => ({ alone: value, "a+b": value });
    const main = Object.fromEntries(
      [
        "retrieval",
        "average-activation",
        "arrow",
        "merged",
        "best individual",
        "oracle",
        "multitask",
        "spectr",
        "uniform",
        "lorahub",
        "base",
      ].map((name) => [name, scores(rival)]),
    );
    const settings = (...values: number[]) => Object.fromEntries(values.map((value) => [value, scores(phatgoose)]));
    return {
      seed: number,
      order: [],
      heldIn: ["alone"],
      heldOut: ["alone", "a+b"],
      numTests: { heldIn: 1, heldOut: 1 },
      experts: {},
      main: { ...main, phatgoose: scores(phatgoose) },
      k: { phatgoose: settings(1, 2, 3, 5) },
      pool: { phatgoose: settings(4, 16) },
      gates: { phatgoose: settings(10, 100, 300) },
    };
  };
  const verdictOf = (runs: readonly StudySeed[], claim: string) =>
    studyReport(runs)
      .markdown.split("\n")
      .find((line) => line.includes(claim))!
      .split("|")[2]!
      .trim();

  test("judges a claim by the differences seed by seed, and only from three seeds on", () => {
    const clear = [seed(1, 0.8, 0.5), seed(2, 0.7, 0.42), seed(3, 0.9, 0.58)];
    expect(verdictOf(clear, "above retrieval")).toBe("holds");
    expect(verdictOf(clear.slice(0, 2), "above retrieval")).toBe("undecided (2 seeds)");
    expect(verdictOf([seed(1, 0.5, 0.8), seed(2, 0.42, 0.7), seed(3, 0.58, 0.9)], "above retrieval")).toBe("does not hold: the reverse");
    expect(verdictOf([seed(1, 0.8, 0.5), seed(2, 0.5, 0.8), seed(3, 0.6, 0.6)], "above retrieval")).toBe("undecided");
  });

  test("plots stand alone as SVG files", () => {
    const { plots } = studyReport([seed(1, 0.8, 0.5)]);
    expect([...plots.keys()]).toEqual(["k", "pool", "gates"]);
    for (const svg of plots.values())
      expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[\s\S]*<polyline[\s\S]*<\/svg>\n$/);
  });

  test("a method has the same color in every plot", () => {
    const run = seed(1, 0.8, 0.5);
    const { plots } = studyReport([{ ...run, k: { arrow: run.k.phatgoose!, ...run.k }, pool: { oracle: run.k.phatgoose!, ...run.pool } }]);
    const marks = [...plots.values()].map((svg) => /<g class="([^"]+)"><rect[^>]*\/><text[^>]*>phatgoose</.exec(svg)?.[1]);
    expect(marks).toEqual(["k0 p0", "k0 p0", "k0 p0"]);
  });
});
