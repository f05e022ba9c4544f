/** @file Watches a stream of text for strings that end it. Text that could still be the beginning of one is held back.
 *
 *  Stop strings may hold special tokens (`<|im_end|>`), as for StopStringCriteria of transformers and for lm-evaluation-harness: such tokens
 *  are watched as they are spelled, though they are no part of the text that comes out. */

export interface StopWatch {
  /** Takes new text; returns what is certain to stand before any stop string. */
  push(text: string): string;
  /** Takes text that is watched but never comes out: a special token's. Returns what became certain. */
  pass(text: string): string;
  /** Ends the stream; returns what was held back. */
  flush(): string;
  /** Whether a stop string was met; nothing behind it comes out. */
  readonly stopped: boolean;
}

export function stopWatch(stops: readonly string[]): StopWatch {
  let held = "";
  let shown: boolean[] = []; // of each unit held, whether it comes out
  let stopped = false;
  const release = (end: number): string => {
    const text = held
      .slice(0, end)
      .split("")
      .filter((_, i) => shown[i])
      .join("");
    held = held.slice(end);
    shown = shown.slice(end);
    return text;
  };
  const take = (text: string, isShown: boolean): string => {
    if (stopped) return "";
    held += text;
    shown.push(...Array.from({ length: text.length }, () => isShown));
    const places = stops.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
    if (places.length === 0) return release(held.length - Math.max(0, ...stops.map((stop) => overlap(held, stop))));
    stopped = true;
    const before = release(Math.min(...places));
    held = "";
    shown = [];
    return before;
  };
  return {
    push: (text) => take(text, true),
    pass: (text) => (text === "" ? "" : take(text, false)),
    flush: () => release(held.length),
    get stopped() {
      return stopped;
    },
  };
}

/** Length of the longest end of `text` that is a beginning of `stop`, not all of it. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (stop.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
