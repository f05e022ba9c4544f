/** @file `skein score`: text metrics over a file of predictions. */

import type { Command } from "commander";
import { list, subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, table } from "../io.ts";

interface Flags extends CommonFlags {
  readonly metrics?: readonly string[];
  readonly stemmer?: boolean;
  readonly perExample?: boolean;
}

export function addScore(program: Command, io: Io): void {
  subcommand(program, "score <predictions>", {
    summary: 'Score a file of {"prediction", "references"} lines with ROUGE, BLEU, chrF, SQuAD or exact match.',
    example: "skein score predictions.jsonl --metrics rougeL,bleu --stemmer",
  })
    .option(
      "--metrics <names>",
      "comma-separated: rouge1, rouge2, rougeL, rougeLsum, bleu, chrf, chrf++, squad, squad_v2, exact_match",
      list,
    )
    .option("--stemmer", "stem words before ROUGE compares them")
    .option("--per-example", "with --json, also give the scores of each line")
    .action(async (predictions: string, { json, ...options }: Flags) => {
      const { scoreFile, scoreOptions } = await import("../../evaluation/metrics/score.ts");
      const { parsed } = await import("../parse.ts");
      const report = await scoreFile(predictions, parsed(scoreOptions, options, "skein score"));
      const rows = Object.entries(report.corpus).map(([name, value]) => [name, value.toFixed(4)]);
      show(io, { json: json === true }, report, table(rows));
    });
}
