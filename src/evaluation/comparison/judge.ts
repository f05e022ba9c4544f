/** @file A model judges which of two answers is better. It is asked twice, with the order swapped (Zheng et al. 2023,
 *  arXiv:2306.05685, LLM-as-a-judge). Judges prefer one place, so an answer wins only if it wins in both places.
 *
 *    verdict(pair)  a or b if both replies name it, else a tie: both called it a tie, the replies differ, or a reply is not readable
 *    win rate of a  (wins + ties / 2) / pairs; its standard error is that of the mean of 1, 1/2 and 0
 *
 *  Each judgment is written immediately, with a hash of its question, so that stopped judging continues. */

import { createHash } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import * as z from "zod";
import { DataError } from "../../base/errors.ts";
import { stopped } from "../../base/stopped.ts";
import { checkFile, codeOf, writeFileAtomically, writing } from "../../checkpoint/atomic.ts";
import type { JudgePair } from "./judge-files.ts";

/** Sends one message and returns the text of the reply. */
export type Ask = (message: string) => Promise<string>;
export type Side = "a" | "b" | "tie";

export interface Judgment {
  /** Hash of judge, prompt and answers. */
  readonly key: string;
  readonly id: string;
  readonly winner: Side;
  /** The verdicts with a in the first place, then with b; undefined if the reply named no winner. */
  readonly verdicts: readonly [Side | undefined, Side | undefined];
  readonly replies: readonly [string, string];
}
export interface JudgeSummary {
  readonly pairs: number;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  /** Ties whose two verdicts differ. */
  readonly split: number;
  /** Ties with a reply that named no winner. */
  readonly unreadable: number;
  readonly winRate: number;
  readonly stderr: number;
}
/** The options of judging, apart from the judge. */
export const judgeOptions = z.strictObject({
  concurrency: z.int().min(1).default(4).meta({ description: "Pairs judged side by side." }),
  maxTokens: z.int().min(1).default(512).meta({ description: "Longest reply of the judge, in tokens." }),
  retries: z.int().min(0).default(6).meta({ description: "Tries after a refusal for now (429, 5xx) or a broken connection." }),
});

export interface JudgeJob {
  readonly pairs: readonly JudgePair[];
  readonly ask: Ask;
  /** The judge's name: judgments of another judge are not reused. */
  readonly judge: string;
  /** The file of judgments, one JSON line each. Judgments in it are not requested again. */
  readonly out: string;
  /** Questions in parallel. Default 4. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Judges every pair that is not judged yet. Returns the judgments in the order of the pairs. */
export async function judgePairs(job: JudgeJob): Promise<Judgment[]> {
  const { pairs, judge, out, concurrency = 4, signal, onProgress } = job;
  if (pairs.length === 0)
    throw new DataError({ code: "data-empty", what: "There are no pairs to judge.", fix: "Give files with at least one answer each." });
  const keys = pairs.map((pair) => keyOf(judge, pair));
  await checkFile(out, { appends: true });
  const known = await readJudgments(out, new Set(keys));
  const open = pairs.map((pair, i) => ({ pair, key: keys[i]! })).filter(({ key }) => !known.has(key));
  onProgress?.(pairs.length - open.length, pairs.length);
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const work = async () => {
    while (next < open.length && !failure && !signal?.aborted) {
      const { pair, key } = open[next++]!;
      try {
        const judgment = await judged(job.ask, pair, key);
        await writing(out, () => appendFile(out, `${JSON.stringify(judgment)}\n`));
        known.set(key, judgment);
        onProgress?.(known.size, new Set(keys).size);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, concurrency) }, work));
  if (signal?.aborted) {
    throw stopped({ work: "judging", done: known.size, total: pairs.length, parts: "pairs", kept: out });
  }
  if (failure) throw failure.error;
  return keys.map((key) => known.get(key)!);
}

async function judged(ask: Ask, pair: JudgePair, key: string): Promise<Judgment> {
  const first = await ask(question(pair.prompt, pair.a, pair.b));
  const second = await ask(question(pair.prompt, pair.b, pair.a));
  const verdicts = [verdictOf(first, "a", "b"), verdictOf(second, "b", "a")] as const;
  const winner = verdicts[0] === verdicts[1] ? (verdicts[0] ?? "tie") : "tie";
  return { key, id: pair.id, winner, verdicts, replies: [first, second] };
}

/** The judge's prompt for two answers, in this order. */
export function question(prompt: string, first: string, second: string): string {
  return `Two assistants answered the same request. Judge which answer serves the person better: correct, helpful, to the point and complete. \
Neither the order of the answers nor their length is a merit.

[Request]
${prompt}
[End of request]

[Answer A]
${first}
[End of answer A]

[Answer B]
${second}
[End of answer B]

Give your reasons in a few sentences. Then end with exactly one of: [[A]] if answer A is better, [[B]] if answer B is better, [[C]] if they are equally good.`;
}

/** The last verdict in a reply, as the answer in that place. */
function verdictOf(reply: string, first: Side, second: Side): Side | undefined {
  const letter = [...reply.matchAll(/\[\[([ABC])\]\]/g)].at(-1)?.[1];
  return letter === undefined ? undefined : letter === "A" ? first : letter === "B" ? second : "tie";
}

/** Counts, and the win rate of a. */
export function judgeSummary(judgments: readonly Judgment[]): JudgeSummary {
  const pairs = judgments.length;
  const count = (is: (judgment: Judgment) => boolean) => judgments.filter(is).length;
  const unreadable = count(({ verdicts }) => verdicts.includes(undefined));
  const split = count(({ verdicts }) => !verdicts.includes(undefined) && verdicts[0] !== verdicts[1]);
  const values = judgments.map(({ winner }): number => (winner === "a" ? 1 : winner === "b" ? 0 : 0.5));
  const winRate = values.reduce((sum, value) => sum + value, 0) / pairs;
  const variance = values.reduce((sum, value) => sum + (value - winRate) ** 2, 0) / (pairs - 1);
  return {
    pairs,
    wins: count(({ winner }) => winner === "a"),
    losses: count(({ winner }) => winner === "b"),
    ties: count(({ winner }) => winner === "tie"),
    split,
    unreadable,
    winRate,
    stderr: pairs > 1 ? Math.sqrt(variance / pairs) : Number.NaN,
  };
}

function keyOf(judge: string, { prompt, a, b }: JudgePair): string {
  return createHash("sha256")
    .update(JSON.stringify([judge, prompt, a, b]))
    .digest("hex")
    .slice(0, 32);
}

/** The judgments of `wanted` in a file; a last line cut off by a crash is dropped from the file. */
async function readJudgments(path: string, wanted: ReadonlySet<string>): Promise<Map<string, Judgment>> {
  const found = new Map<string, Judgment>();
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      await writeFileAtomically(path, "");
      return found;
    }
    throw error;
  }
  const end = text.lastIndexOf("\n") + 1;
  if (end < text.length) await writeFileAtomically(path, text.slice(0, end));
  for (const [i, line] of text.slice(0, end).split("\n").entries()) {
    if (line.trim() === "") continue;
    const judgment = parsedLine(line, `${path}:${i + 1}`);
    if (wanted.has(judgment.key)) found.set(judgment.key, judgment);
  }
  return found;
}

function parsedLine(line: string, where: string): Judgment {
  const fix = "Name another `out` file: this one holds something else than judgments.";
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null && "key" in value && "verdicts" in value) return value as Judgment;
  } catch (cause) {
    throw new DataError({ code: "judge-bad-file", what: "This line is no JSON.", where, fix, cause });
  }
  throw new DataError({ code: "judge-bad-file", what: "This line is no judgment.", where, fix });
}
