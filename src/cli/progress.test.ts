import { expect, test } from "vitest";
import { duration, progress } from "./progress.ts";

function watched({ terminal = false, json = false } = {}) {
  let [text, now] = ["", 0];
  const err = (more: string) => {
    text += more;
  };
  const wait = (ms: number) => {
    now += ms;
  };
  const io = { out: () => {}, err, terminal, columns: 100 };
  const report = progress(io, { json }, { label: "train", clock: () => now });
  return { report, wait, text: () => text };
}

test("a log gets a plain line every ten seconds and one at the end", () => {
  const { report, wait, text } = watched();
  for (let step = 1; step <= 30; step++) {
    wait(1000);
    report.update({ step, total: 30, loss: 1 / step, tokens: 2000 });
  }
  report.done();
  expect(text().split("\n")).toEqual([
    "train  1/30  loss 1.0000  2.0k tokens/s  0:29 left",
    "train  11/30  loss 0.0909  2.0k tokens/s  0:19 left",
    "train  21/30  loss 0.0476  2.0k tokens/s  0:09 left",
    "train  30/30  loss 0.0333  2.0k tokens/s  0:00 left",
    "",
  ]);
});

test("a terminal gets one line redrawn", () => {
  const { report, wait, text } = watched({ terminal: true });
  wait(1000);
  report.update({ step: 1, total: 2 });
  wait(1000);
  report.update({ step: 2, total: 2 });
  report.done();
  const bar = (filled: number) => "█".repeat(filled) + "░".repeat(20 - filled);
  expect(text()).toBe(`\r\x1b[Ktrain  ${bar(10)}  1/2  0:01 left\r\x1b[Ktrain  ${bar(20)}  2/2  0:00 left\n`);
});

test("machines get every update; a resumed run's time left counts only its own steps", () => {
  const { report, wait, text } = watched({ json: true });
  wait(1000);
  report.update({ step: 91, total: 100, loss: 2 });
  expect(JSON.parse(text())).toEqual({ progress: "train", step: 91, total: 100, loss: 2, secondsLeft: 9 });
});

test("durations read as a clock", () => {
  expect([7, 192, 3723].map(duration)).toEqual(["0:07", "3:12", "1:02:03"]);
});
