/** @file `skein trace`: a page that shows which expert served which token. */

import type { Command } from "commander";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { type SamplingFlags, samplingOptions, withSamplingFlags } from "./generate.ts";

interface Flags extends CommonFlags, ModelFlags, SamplingFlags {
  readonly out: string;
}

export function addTrace(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "trace <prompt>", {
    summary,
    example: 'skein trace "spell the plural : goose" --base models/t5 --pool my-pool --out trace.html',
  });
  withSamplingFlags(withModelFlags(command))
    .option("--out <file>", "the page; the trace itself is printed with --json", "trace.html")
    .action(async (prompt: string, flags: Flags) => {
      const { traceLines } = await import("../trace-lines.ts");
      const { loadModel } = await import("../../library/model.ts");
      const { checkFile, writeFileAtomically } = await import("../../checkpoint/atomic.ts");
      const { trace } = await import("../../evaluation/scoring/trace.ts");
      const { tracePage } = await import("../../evaluation/report/trace-page.ts");
      await checkFile(flags.out);
      const warnings: string[] = [];
      await using model = await loadModel(flags.base, { ...flags, onWarning: (warning) => warnings.push(warning) });
      warn(io, flags, warnings);
      const traced = await trace(model, await model.base.tokenizer(), prompt, samplingOptions(flags));
      await writeFileAtomically(flags.out, tracePage(traced));
      const text = [traced.completion.trim(), traceLines(traced, io), `Wrote ${flags.out}.`].join("\n\n");
      show(io, flags, { out: flags.out, ...traced }, text);
    });
}
