import { expect, test } from "vitest";
import { downloadProgress, duration, progress } from "./progress.ts";

function watched({ terminal = false, json = false } = {}) {
  let [text, now] = ["", 0];
  const err = (more: string) => {
    text += more;
  };
  const wait = (ms: number) => {
    now += ms;
  };
  const io = { out: () => {}, err, terminal, columns: 100, colors: false };
  const report = progress(io, { json }, { label: "train", clock: () => now });
  return { report, wait, text: () => text };
}

test("a log gets a plain line every ten seconds and one at the end", () => {
  const { report, wait, text } = watched();
  for (let step = 1; step <= 30; step++) {
    wait(1000);
    report.update({ step, steps: 30, loss: 1 / step, tokensPerSecond: 2000, secondsLeft: 30 - step });
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

test("a terminal gets one line redrawn, at most ten times a second", () => {
  const { report, wait, text } = watched({ terminal: true });
  for (const [step, pause] of [1, 2, 3, 4].map((n) => [n, n === 2 ? 10 : 1000] as const)) {
    wait(pause);
    report.update({ step, steps: 4, secondsLeft: 4 - step });
  }
  report.done();
  const bar = (filled: number) => "█".repeat(filled) + "░".repeat(20 - filled);
  const lines = [`train  ${bar(5)}  1/4  0:03 left`, `train  ${bar(15)}  3/4  0:01 left`, `train  ${bar(20)}  4/4  0:00 left`];
  expect(text()).toBe(`${lines.map((line) => `\r\x1b[K${line}`).join("")}\n`);
});

test("machines get every update", () => {
  const { report, text } = watched({ json: true });
  report.update({ step: 1, steps: 100, loss: 2, secondsLeft: 9 });
  report.update({ step: 2, steps: 100, loss: 1, secondsLeft: 8 });
  expect(
    text()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { progress: "train", step: 1, steps: 100, loss: 2, secondsLeft: 9 },
    { progress: "train", step: 2, steps: 100, loss: 1, secondsLeft: 8 },
  ]);
});

test("durations read as a clock", () => {
  expect([7, 192, 3723].map(duration)).toEqual(["0:07", "3:12", "1:02:03"]);
});

test("a download is told in megabytes, a small file not at all in a log", () => {
  const lines = (flags: { json?: boolean }, totalBytes: number) => {
    const seen: string[] = [];
    const io = { out: () => {}, err: (text: string) => void seen.push(text), terminal: false, columns: 100, colors: false };
    const report = downloadProgress(io, flags);
    for (const share of [0.1, 0.11, 0.6, 1])
      report({ repository: "org/set", file: "a.parquet", loadedBytes: share * totalBytes, totalBytes });
    return seen;
  };
  expect(lines({}, 5e6)).toEqual(["download  0/5  MB  org/set: a.parquet\n", "download  5/5  MB  org/set: a.parquet\n"]);
  expect(lines({}, 5e5)).toEqual([]);
  expect(lines({ json: true }, 5e6).map((text) => JSON.parse(text).step)).toEqual([0, 3, 5]);
});
