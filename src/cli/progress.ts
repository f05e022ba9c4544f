/** @file The progress of long work: a bar in a terminal, a plain line from time to time elsewhere, JSON lines with --json.
 *
 *      train  ████████████░░░░░░░░  612/1000  loss 0.8312  24.1k tokens/s  3:12 left */

import type { FileProgress } from "../data/example-file.ts";
import type { DownloadProgress } from "../hub/resolve-model.ts";
import type { CommonFlags, Io } from "./io.ts";

export interface ProgressState {
  readonly step: number;
  readonly steps: number;
  readonly loss?: number;
  readonly tokensPerSecond?: number;
  readonly secondsLeft?: number;
  /** The current part of the work. */
  readonly note?: string;
  /** The expert, where several train at once. */
  readonly expert?: string;
}

export interface Progress {
  update(state: ProgressState): void;
  /** Ends the bar's line, so that later output begins on a new line. */
  done(): void;
}

export interface ProgressOptions {
  readonly label: string;
  /** A clock in milliseconds; default the process's monotonic clock. */
  readonly clock?: () => number;
}

const BAR_WIDTH = 20;
const TERMINAL_INTERVAL = 100; // ms between redraws: faster redraws cannot be read
const PLAIN_INTERVAL = 10_000; // ms between lines in a log

/** Reports progress on io.err, in the form for a terminal, a log or a program. */
export function progress(io: Io, flags: CommonFlags, { label, clock = () => performance.now() }: ProgressOptions): Progress {
  const interval = flags.json ? 0 : io.terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL;
  let last = Number.NEGATIVE_INFINITY;
  let open = false;
  return {
    update(state) {
      const now = clock();
      if (now - last < interval && state.step < state.steps) return;
      last = now;
      if (flags.json) io.err(`${JSON.stringify({ progress: label, ...state })}\n`);
      else if (io.terminal) io.err(`\r\x1b[K${line(label, state, true).slice(0, io.columns - 1)}`);
      else io.err(`${line(label, state, false)}\n`);
      open = io.terminal && !flags.json;
    },
    done() {
      if (open) io.err("\n");
      open = false;
    },
  };
}

/** Reports the progress of several parts at once. A terminal shows one bar over all of them, with the loss of each; a log and a program
 *  get lines for each part. */
export function progressOfEach(io: Io, flags: CommonFlags, { label, ...options }: ProgressOptions) {
  const whole = progress(io, flags, { label, ...options });
  const parts = new Map<string, { readonly state: ProgressState; readonly lines: Progress }>();
  return {
    update(part: string, state: ProgressState): void {
      const lines = parts.get(part)?.lines ?? progress(io, flags, { label: flags.json ? label : `${label} ${part}`, ...options });
      parts.set(part, { state, lines });
      if (flags.json || !io.terminal) {
        lines.update(flags.json ? { expert: part, ...state } : state);
        return;
      }
      const states = [...parts.values()].map((one) => one.state);
      const total = (key: "step" | "steps" | "tokensPerSecond") => states.reduce((sum, one) => sum + (one[key] ?? 0), 0);
      const losses = [...parts].map(([name, { state: own }]) => `${name} ${own.step}/${own.steps} ${own.loss?.toFixed(3) ?? ""}`);
      const secondsLeft = Math.max(...states.map((one) => one.secondsLeft ?? 0));
      const sums = { step: total("step"), steps: total("steps"), tokensPerSecond: total("tokensPerSecond") };
      whole.update({ ...sums, secondsLeft, note: losses.join("  ") });
    },
    done: whole.done,
  };
}

const MEGABYTE = 1e6;

/** Reports the files of a download, one after another, in megabytes. */
export function downloadProgress(io: Io, flags: CommonFlags): (state: DownloadProgress) => void {
  const bar = progress(io, flags, { label: "download" });
  let last = "";
  return ({ repository, file, loadedBytes, totalBytes }) => {
    if (totalBytes < MEGABYTE && !io.terminal && !flags.json) return; // small files would fill a log
    const steps = Math.max(1, Math.round(totalBytes / MEGABYTE));
    const isDone = loadedBytes >= totalBytes;
    const step = isDone ? steps : Math.min(steps - 1, Math.floor(loadedBytes / MEGABYTE));
    const note = `MB  ${repository}: ${file}`;
    if (last === `${step} ${note}`) return; // one network packet is too little for a line
    last = `${step} ${note}`;
    bar.update({ step, steps, note });
    if (isDone) bar.done();
  };
}

/** Reports how a large data file is read, in megabytes, and checked, in rows. */
export function dataProgress(io: Io, flags: CommonFlags): (state: FileProgress) => void {
  const bars = { read: progress(io, flags, { label: "read" }), check: progress(io, flags, { label: "check" }) };
  let last = "";
  return ({ part, done, total }) => {
    const percent = `${part} ${Math.floor((100 * done) / Math.max(1, total))}`;
    if (percent === last) return; // a million rows would be a thousand lines
    last = percent;
    const [unit, note] = part === "read" ? [MEGABYTE, "MB"] : [1, "rows"];
    bars[part].update({ step: Math.round(done / unit), steps: Math.max(1, Math.round(total / unit)), note });
    if (done >= total) bars[part].done();
  };
}

function line(label: string, { step, steps, loss, tokensPerSecond, secondsLeft, note }: ProgressState, bar: boolean): string {
  const filled = Math.round((BAR_WIDTH * step) / steps);
  const parts = [
    label,
    ...(bar ? ["█".repeat(filled) + "░".repeat(BAR_WIDTH - filled)] : []),
    `${step}/${steps}`,
    ...(loss === undefined ? [] : [`loss ${loss.toFixed(4)}`]),
    ...(tokensPerSecond === undefined ? [] : [`${compact(tokensPerSecond)} tokens/s`]),
    ...(secondsLeft === undefined ? [] : [`${duration(secondsLeft)} left`]),
    ...(note === undefined ? [] : [note]),
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
