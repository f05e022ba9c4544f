/** @file `skein judge`: two files of answers, compared by a model behind an OpenAI-compatible endpoint. */

import type { Command } from "commander";
import * as z from "zod";
import { judgeOptions } from "../../evaluation/comparison/judge.ts";
import { subcommand } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { progress } from "../progress.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";

const judgeFlags = z.strictObject({
  endpoint: z.string().meta({ description: "The URL of a server with OpenAI's chat completions API, up to /v1.", value: "url" }),
  model: z.string().meta({ description: "The endpoint's name for the judge model.", value: "name" }),
  out: z.string().meta({ description: "The judgments, one JSON line each. A stopped run continues from this file.", value: "file" }),
  apiKeyEnv: z
    .string()
    .default("OPENAI_API_KEY")
    .meta({ description: "The environment variable with the API key, if the endpoint needs one.", value: "name" }),
});
type Flags = CommonFlags & z.input<typeof judgeFlags>;

export function addJudge(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "judge <answers-a> <answers-b>", {
    summary,
    example: "skein judge phatgoose.jsonl merged.jsonl --endpoint http://localhost:8000/v1 --model judge --out judged.jsonl",
  });
  withOptions(command, judgeFlags);
  withOptions(command, judgeOptions).action(async (fileA: string, fileB: string, flags: Flags) => {
    const { judgePairs, judgeSummary } = await import("../../evaluation/comparison/judge.ts");
    const { readJudgePairs } = await import("../../evaluation/comparison/judge-files.ts");
    const { chatAsk } = await import("../../evaluation/comparison/chat-endpoint.ts");
    const { endpoint, model, out, apiKeyEnv } = judgeFlags.parse(optionsFrom(judgeFlags, flags));
    const { concurrency, maxTokens, retries } = judgeOptions.parse(optionsFrom(judgeOptions, flags));
    const pairs = await readJudgePairs(fileA, fileB);
    const bar = progress(io, flags, { label: "judge" });
    const judgments = await interruptible(io, (signal) => {
      const ask = chatAsk({ endpoint, model, apiKey: process.env[apiKeyEnv], maxTokens, retries, signal });
      const onProgress = (step: number, steps: number) => bar.update({ step, steps });
      return judgePairs({ pairs, ask, judge: model, out, concurrency, signal, onProgress });
    }).finally(() => bar.done());
    const summary = judgeSummary(judgments);
    const { pairs: count, wins, losses, ties, split, unreadable, winRate, stderr } = summary;
    const text = [
      `${fileA} wins ${wins}, loses ${losses}, ties ${ties} of ${count} (${split} split by the order, ${unreadable} not readable)`,
      `win rate ${(100 * winRate).toFixed(1)} %${Number.isFinite(stderr) ? ` ± ${(100 * stderr).toFixed(1)}` : ""}, a tie counts half`,
    ];
    show(io, flags, { out, ...summary }, text.join("\n"));
  });
}
