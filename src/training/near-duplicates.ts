/** @file Finds texts that are nearly the same as one before: the share of common runs of three words (Broder 1997).
 *
 *      resemblance(a, b) = |A and B| / |A or B|       A, B: the sets of runs of a and b; short texts are compared as a whole */

const RUN = 3; // words
const MOST_ALIKE = 0.8;

/** A filter that keeps what it has seen: true for a text that no earlier one resembles. */
export function textFilter(): (text: string) => boolean {
  const seen: ReadonlySet<string>[] = [];
  const byRun = new Map<string, number[]>();
  return (text) => {
    const runs = runsOf(text);
    const candidates = new Set([...runs].flatMap((run) => byRun.get(run) ?? []));
    for (const i of candidates) if (resemblance(runs, seen[i]!) > MOST_ALIKE) return false;
    for (const run of runs) byRun.set(run, [...(byRun.get(run) ?? []), seen.length]);
    seen.push(runs);
    return true;
  };
}

function runsOf(text: string): ReadonlySet<string> {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length < RUN) return new Set([words.join(" ")]);
  return new Set(Array.from({ length: words.length - RUN + 1 }, (_, i) => words.slice(i, i + RUN).join(" ")));
}

function resemblance(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const common = [...a].filter((run) => b.has(run)).length;
  return common / (a.size + b.size - common);
}
