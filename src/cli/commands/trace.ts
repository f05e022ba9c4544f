/** @file `skein trace`: writes a page that shows which expert served which token. */

import type { Command } from "commander";
import * as z from "zod";
import { baseOptions } from "../base-model.ts";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { type Io, show, warn } from "../io.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";
import { samplingOptions, withSamplingFlags } from "./generate.ts";

const traceFlags = z.strictObject({
  out: z
    .string()
    .default("trace.html")
    .meta({ description: "The page to write. With --json, the trace itself is printed.", value: "file" }),
});

export function addTrace(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "trace <prompt>", {
    summary,
    example: 'skein trace "spell the plural : goose" --base models/t5 --pool my-pool --out trace.html',
  });
  withModelFlags(command);
  withOptions(command, traceFlags);
  withSamplingFlags(command).action(async (prompt: string, flags: ModelFlags) => {
    const { out } = traceFlags.parse(optionsFrom(traceFlags, flags));
    const { traceLines } = await import("../trace-lines.ts");
    const { loadModel } = await import("../../library/model.ts");
    const { checkFile, writeFileAtomically } = await import("../../checkpoint/atomic.ts");
    const { trace } = await import("../../evaluation/scoring/trace.ts");
    const { tracePage } = await import("../../evaluation/report/trace-page.ts");
    await checkFile(out);
    const warnings: string[] = [];
    await using model = await loadModel(flags.base, {
      ...flags,
      ...baseOptions(io, flags),
      onWarning: (warning) => warnings.push(warning),
    });
    warn(io, flags, warnings);
    const traced = await trace(model, await model.base.tokenizer(), prompt, samplingOptions(flags));
    await writeFileAtomically(out, tracePage(traced));
    const text = [traced.completion.trim(), traceLines(traced, io), `Wrote ${out}.`].join("\n\n");
    show(io, flags, { out, ...traced }, text);
  });
}
