/** @file `skein score`: computes text metrics for a file of predictions. */

import type { Command } from "commander";
import { scoreOptions } from "../../evaluation/metrics/score.ts";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, table } from "../io.ts";
import { parsed } from "../parse.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";

export function addScore(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "score <predictions>", {
    summary,
    example: "skein score predictions.jsonl --metrics rougeL,bleu --stemmer",
  });
  withOptions(command, scoreOptions).action(async (predictions: string, flags: CommonFlags) => {
    const { scoreFile } = await import("../../evaluation/metrics/score.ts");
    const report = await scoreFile(predictions, parsed(scoreOptions, optionsFrom(scoreOptions, flags), "skein score"));
    const rows = Object.entries(report.corpus).map(([name, value]) => [name, value.toFixed(4)]);
    show(io, flags, report, table(rows));
  });
}
