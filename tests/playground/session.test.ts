/** @file The playground's data without a browser: spans, differences, links and files. */

import { expect, test } from "vitest";
import { aligned, changedTokens } from "../../web/src/differences.ts";
import { sessionCsv, sessionJson } from "../../web/src/export.ts";
import { segmentsOf } from "../../web/src/generate.ts";
import { shortNames } from "../../web/src/marks.ts";
import { emptyRun, evenness, hasCollapsed, loadOf, mainOf, type Run, STANDARD } from "../../web/src/run.ts";
import { linkFragment, linkIn, type Session, sessionIn } from "../../web/src/session.ts";

const token = (text: string, expert: number, id = 7) => ({
  ...{ id, text, logprob: -0.5, top: [], isForced: false },
  experts: [[expert, 1 - expert]],
  weights: [[0.75, 0.25]],
});
const run = (...tokens: [string, number][]): Run => ({
  ...emptyRun('a, "b"\n', STANDARD),
  ...{ experts: ["red", "blue"], modules: ["m"], status: "done" },
  tokens: tokens.map(([text, expert]) => token(text, expert)),
});

test("spans cut an answer into requests; of two spans the later holds", () => {
  expect(segmentsOf([], 9)).toEqual([{ to: 9 }]);
  expect(segmentsOf([{ from: 2, to: 5, expert: "red" }], 9)).toEqual([{ to: 2 }, { to: 5, expert: "red" }, { to: 9 }]);
  const both = [
    { from: 0, to: 4, expert: "red" },
    { from: 3, to: 20, expert: "blue" },
  ];
  expect(segmentsOf(both, 9)).toEqual([
    { to: 3, expert: "red" },
    { to: 4, expert: "blue" },
    { to: 9, expert: "blue" },
  ]);
});

test("differences: new tokens, and common ones of another expert", () => {
  expect(aligned(["a", "b", "c"], ["a", "x", "c"])).toEqual([
    [0, 0],
    [2, 2],
  ]);
  const { tokens, text } = changedTokens(run(["a", 0], ["b", 0], ["c", 0]), run(["a", 0], ["x", 0], ["c", 1]));
  expect([...tokens]).toEqual([
    [1, "text"],
    [2, "expert"],
  ]);
  expect(text).toBe("1 new token, 1 gone, 1 served by another expert.");
});

test("shares, load and letters", () => {
  const { tokens } = run(["a", 0], ["b", 1]);
  expect(mainOf(tokens[0]!)).toEqual({ expert: 0, share: 0.75 });
  expect(loadOf(tokens, 2)).toEqual([0.5, 0.5]);
  expect([evenness([1, 0]), evenness([0.5, 0.5])]).toEqual([-0, 1]);
  expect(shortNames(["red", "rose", "blue", "blues"])).toEqual(["re", "ro", "bl3", "bl4"]);
});

test("routing that collapses onto few experts is warned of, and routing onto several is not", () => {
  const served = (...counts: number[]) => {
    const { tokens } = run(...counts.flatMap((count, expert) => Array.from({ length: count }, (): [string, number] => ["a", expert])));
    const alone = tokens.map(({ experts }) => ({ experts: [[experts[0]![0]!]], weights: [[1]] }));
    return [loadOf(alone, 8), alone.length] as const;
  };
  expect(hasCollapsed(...served(9, 1))).toBe(true); // one expert has 90 %
  expect(hasCollapsed(...served(5, 5))).toBe(true); // two of eight share all: evenness 1/3
  expect(hasCollapsed(...served(4, 3, 3))).toBe(false);
  expect(hasCollapsed(...served(1, 1, 1, 1, 1, 1, 1, 1))).toBe(false);
  expect(hasCollapsed(...served(3))).toBe(false); // three tokens are too few to tell
  expect(hasCollapsed([1, 0], 10)).toBe(false); // of two experts one may well serve all
});

test("a link and a file give back what was put in, and refuse what is no session", async () => {
  const link = { v: 1, p: "héllo 日本", s: STANDARD, a: [1, 2, 3], m: ["", "base"] } as const;
  expect(await linkIn(`#${await linkFragment(link)}`)).toEqual(link);
  expect(await linkIn("#elsewhere")).toBeUndefined();
  await expect(linkIn("#s=AAAA")).rejects.toThrow(/cannot be read/);
  const session: Session = { skein: 1, prompt: "p", settings: STANDARD, methods: [], compared: [], run: run(["a", 0]) };
  expect(sessionIn(sessionJson(session))).toEqual(session);
  const strange = { ...session, run: { ...run(["a", 0]), experts: ["red"] } }; // routes name a second expert
  expect(() => sessionIn(JSON.stringify(strange))).toThrow(/there is no expert 1/);
  expect(() => sessionIn("{}")).toThrow(/no session of this version/);
});

test("CSV quotes what needs it", () => {
  expect(sessionCsv(run([' "x",\n', 0])).split("\r\n")).toEqual([
    "token,id,text,probability,module,expert,weight",
    '1,7," ""x"",\n",0.6065,m,red,0.75',
    '1,7," ""x"",\n",0.6065,m,blue,0.25',
  ]);
});
