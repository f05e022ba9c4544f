/** @file How far a long piece of work is: a bar in a terminal, a plain line now and then elsewhere, JSON lines for machines.
 *
 *      train  ████████████░░░░░░░░  612/1000  loss 0.8312  24.1k tokens/s  3:12 left */

import type { CommonFlags, Io } from "./io.ts";

export interface ProgressState {
  readonly step: number;
  readonly total: number;
  /** The loss of the step just done. */
  readonly loss?: number;
  /** Tokens worked on since the last update. */
  readonly tokens?: number;
}

export interface Progress {
  update(state: ProgressState): void;
  /** Ends the bar's line. */
  done(): void;
}

export interface ProgressOptions {
  readonly label: string;
  /** Milliseconds; default the process's monotonic clock. */
  readonly clock?: () => number;
}

const BAR_WIDTH = 20;
const TERMINAL_INTERVAL = 100; // ms between redraws: more cannot be read
const PLAIN_INTERVAL = 10_000; // ms between lines in a log

/** Reports progress on io.err in the form that suits who reads it. */
export function progress(io: Io, flags: CommonFlags, { label, clock = () => performance.now() }: ProgressOptions): Progress {
  const start = clock();
  let [first, last, tokens] = [undefined as number | undefined, Number.NEGATIVE_INFINITY, 0];
  const interval = flags.json ? 0 : io.terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL;
  let open = false;
  return {
    update(state) {
      const now = clock();
      first ??= state.step - 1; // a resumed run starts in the middle: time left counts what this process did
      tokens += state.tokens ?? 0;
      if (now - last < interval && state.step < state.total) return;
      last = now;
      const seconds = Math.max((now - start) / 1000, 1e-3);
      const rate = tokens > 0 ? tokens / seconds : undefined;
      const left = ((state.total - state.step) * seconds) / Math.max(state.step - first, 1);
      if (flags.json) io.err(`${JSON.stringify({ progress: label, ...state, tokensPerSecond: rate, secondsLeft: left })}\n`);
      else if (io.terminal) io.err(`\r\x1b[K${line(label, state, { rate, left, bar: true }).slice(0, io.columns - 1)}`);
      else io.err(`${line(label, state, { rate, left, bar: false })}\n`);
      open = io.terminal && !flags.json;
    },
    done() {
      if (open) io.err("\n");
      open = false;
    },
  };
}

interface Pace {
  readonly rate: number | undefined;
  readonly left: number;
  readonly bar: boolean;
}

function line(label: string, { step, total, loss }: ProgressState, { rate, left, bar }: Pace): string {
  const filled = Math.round((BAR_WIDTH * step) / total);
  const parts = [
    label,
    ...(bar ? ["█".repeat(filled) + "░".repeat(BAR_WIDTH - filled)] : []),
    `${step}/${total}`,
    ...(loss === undefined ? [] : [`loss ${loss.toFixed(4)}`]),
    ...(rate === undefined ? [] : [`${compact(rate)} tokens/s`]),
    `${duration(left)} left`,
  ];
  return parts.join("  ");
}

/** 950 -> "950", 24100 -> "24.1k" */
function compact(value: number): string {
  return value < 1000 ? value.toFixed(0) : value < 1e6 ? `${(value / 1000).toFixed(1)}k` : `${(value / 1e6).toFixed(1)}M`;
}

/** Seconds as "0:07", "3:12" or "1:02:03". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
