/** @file Watches a stream of text for stop strings. Text that may be the beginning of a stop string is held back.
 *
 *  Stop strings may hold special tokens (`<|im_end|>`), as for StopStringCriteria of transformers and for lm-evaluation-harness: the
 *  spelling of such a token is watched, although it is not part of the text that is returned. */

export interface StopWatch {
  /** Takes new text; returns the text that certainly precedes any stop string. */
  push(text: string): string;
  /** Takes the text of a special token, which is watched but never returned. Returns the text that became certain. */
  pass(text: string): string;
  /** Ends the stream; returns the text that was held back. */
  flush(): string;
  /** Whether a stop string was found. No text after it is returned. */
  readonly stopped: boolean;
}

export function stopWatch(stops: readonly string[]): StopWatch {
  let held = "";
  let shown: boolean[] = []; // for each held unit, whether it is returned
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

/** The length of the longest end of `text` that is a beginning of `stop`, but not the whole of `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (stop.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
