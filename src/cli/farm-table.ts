/** @file The jobs of a farm while it runs: one table that is drawn anew in a terminal, a line for each change elsewhere, JSON lines for
 *  machines.
 *
 *      3/12 done, 2 running, 1 failed, 4:10 left
 *      nouns   expert    120/1000  loss 0.8312  3:12 left
 *      verbs   gates      20/100   loss 0.4410  0:31 left */

import type { FarmEvent } from "../fleet/crew.ts";
import { type CommonFlags, type Io, table } from "./io.ts";
import { duration } from "./progress.ts";

export interface FarmTable {
  update(event: FarmEvent): void;
  /** Prints something that is no part of the table, above it. */
  above(print: () => void): void;
  done(): void;
}

const REDRAW = 150; // ms between drawings: more cannot be read
const MOST_ROWS = 24;
const FINISHED: readonly FarmEvent["state"][] = ["done", "kept", "failed", "stopped"];

export function farmTable(io: Io, flags: CommonFlags, clock: () => number = () => performance.now()): FarmTable {
  const latest = new Map<string, FarmEvent>();
  const began = new Map<string, number>();
  const took: number[] = [];
  let drawn = 0;
  let last = Number.NEGATIVE_INFINITY;
  const clear = () => {
    if (drawn > 0) io.err(`\x1b[${drawn}A\x1b[J`);
    drawn = 0;
  };
  const draw = () => {
    clear();
    const lines = drawing([...latest.values()], took);
    io.err(lines.map((line) => `${line.slice(0, io.columns - 1)}\n`).join(""));
    drawn = lines.length;
    last = clock();
  };
  return {
    update(event) {
      const before = latest.get(event.job);
      const isNews = before?.state !== event.state || before?.stage !== event.stage;
      latest.set(event.job, { ...event });
      if (event.state === "running" && !began.has(event.job)) began.set(event.job, clock());
      if (event.state === "done") took.push((clock() - (began.get(event.job) ?? clock())) / 1000);
      if (flags.json) io.err(`${JSON.stringify({ farm: event })}\n`);
      else if (io.terminal) {
        if (clock() - last >= REDRAW || FINISHED.includes(event.state)) draw();
      } else if (isNews && event.state !== "waiting") io.err(`${plainLine(event)}\n`);
    },
    above(print) {
      if (!io.terminal || flags.json) return print();
      clear();
      print();
      draw();
    },
    done() {
      if (io.terminal && !flags.json && latest.size > 0) draw();
      drawn = 0;
    },
  };
}

function drawing(events: readonly FarmEvent[], took: readonly number[]): string[] {
  const of = (...states: readonly FarmEvent["state"][]) => events.filter(({ state }) => states.includes(state));
  const running = of("running");
  const failed = of("failed");
  const counts = [
    `${of("done", "kept").length}/${events.length} done`,
    `${running.length} running`,
    ...(failed.length > 0 ? [`${failed.length} failed`] : []),
    ...leftOf(events, running, took),
  ];
  const shown = [...failed, ...running, ...of("done", "kept").reverse()].slice(0, MOST_ROWS);
  return [counts.join(", "), ...(shown.length > 0 ? table(shown.map(cells)).split("\n") : [])];
}

/** Time that all jobs still take, from those that are done: waiting ones and what is left of those that run, side by side. */
function leftOf(events: readonly FarmEvent[], running: readonly FarmEvent[], took: readonly number[]): string[] {
  if (took.length === 0 || running.length === 0) return [];
  const each = took.reduce((sum, time) => sum + time, 0) / took.length;
  const waiting = events.filter(({ state }) => state === "waiting").length;
  const own = running.map(({ secondsLeft }) => secondsLeft ?? each / 2);
  const total = waiting * each + own.reduce((sum, time) => sum + time, 0);
  return [`${duration(Math.max(total / running.length, ...own))} left`];
}

function cells({ job, state, stage, step, steps, loss, secondsLeft, seconds, problem }: FarmEvent): string[] {
  return [
    job,
    state === "running" ? (stage ?? state) : state,
    state === "running" && steps !== undefined ? `${step}/${steps}` : "",
    loss === undefined ? "" : `loss ${loss.toFixed(4)}`,
    state === "running" && secondsLeft !== undefined
      ? `${duration(secondsLeft)} left`
      : seconds === undefined
        ? ""
        : `took ${duration(seconds)}`,
    problem?.what ?? "",
  ];
}

function plainLine(event: FarmEvent): string {
  return cells(event)
    .filter((cell) => cell !== "")
    .join("  ");
}
