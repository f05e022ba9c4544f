/** @file `skein judge`: two files of answers, compared by a model behind an OpenAI-compatible endpoint. */

import type { Command } from "commander";
import { subcommand, wholeNumber } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { progress } from "../progress.ts";

interface Flags extends CommonFlags {
  readonly endpoint: string;
  readonly model: string;
  readonly out: string;
  readonly apiKeyEnv: string;
  readonly concurrency: number;
  readonly maxTokens: number;
  readonly retries: number;
}

export function addJudge(program: Command, io: Io): void {
  subcommand(program, "judge <answers-a> <answers-b>", {
    summary: "Let a model judge which of two answers is better, asked twice with the order swapped; disagreement is a tie.",
    example: "skein judge phatgoose.jsonl merged.jsonl --endpoint http://localhost:8000/v1 --model judge --out judged.jsonl",
  })
    .requiredOption("--endpoint <url>", "any server that speaks OpenAI's chat completions, up to /v1")
    .requiredOption("--model <name>", "the judge, as the endpoint names it")
    .requiredOption("--out <file>", "every judgement, one JSON line each; a judging that was stopped goes on from there")
    .option("--api-key-env <name>", "the environment variable that holds the key, if the endpoint wants one", "OPENAI_API_KEY")
    .option("--concurrency <n>", "pairs judged side by side", wholeNumber(1), 4)
    .option("--max-tokens <n>", "longest reply of the judge", wholeNumber(1), 512)
    .option("--retries <n>", "tries after a refusal for now (429, 5xx) or a broken connection", wholeNumber(0), 6)
    .action(async (fileA: string, fileB: string, flags: Flags) => {
      const { judgePairs, judgeSummary } = await import("../../evaluation/comparison/judge.ts");
      const { readJudgePairs } = await import("../../evaluation/comparison/judge-files.ts");
      const { chatAsk } = await import("../../evaluation/comparison/chat-endpoint.ts");
      const { endpoint, model, out, apiKeyEnv, concurrency, maxTokens, retries } = flags;
      const pairs = await readJudgePairs(fileA, fileB);
      const bar = progress(io, flags, { label: "judge" });
      const judgements = await interruptible(io, (signal) => {
        const ask = chatAsk({ endpoint, model, apiKey: process.env[apiKeyEnv], maxTokens, retries, signal });
        const onProgress = (step: number, steps: number) => bar.update({ step, steps });
        return judgePairs({ pairs, ask, judge: model, out, concurrency, signal, onProgress });
      }).finally(() => bar.done());
      const summary = judgeSummary(judgements);
      const { pairs: count, wins, losses, ties, split, unreadable, winRate, stderr } = summary;
      const text = [
        `${fileA} wins ${wins}, loses ${losses}, ties ${ties} of ${count} (${split} split by the order, ${unreadable} not readable)`,
        `win rate ${(100 * winRate).toFixed(1)} %${Number.isFinite(stderr) ? ` ± ${(100 * stderr).toFixed(1)}` : ""}, a tie counting half`,
      ];
      show(io, flags, { out, ...summary }, text.join("\n"));
    });
}
