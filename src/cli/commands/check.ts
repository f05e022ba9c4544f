/** @file `skein check`: checks an adapter folder before it is used. */

import type { Command } from "commander";
import * as z from "zod";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show, table, warn } from "../io.ts";
import { withOptions } from "../schema-options.ts";

const checkFlags = z.strictObject({
  base: z
    .string()
    .optional()
    .meta({ description: "Check the adapter against this base model: a folder or a Hugging Face id.", value: "dir" }),
});
type Flags = CommonFlags & z.input<typeof checkFlags>;

/** Layer 2 before layer 10. */
const byNumber = new Intl.Collator("en", { numeric: true }).compare;

export function addCheck(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "check <adapter>", { summary, example: "skein check my-expert --base models/t5" });
  withOptions(command, checkFlags).action(async (adapter: string, flags: Flags) => {
    const { UserError } = await import("../../base/errors.ts");
    const { onCommandLine } = await import("../remedies.ts");
    const { checkAdapter } = await import("../../storage/check.ts");
    const { openBase } = await import("../../inference/base.ts");
    const base = flags.base === undefined ? undefined : await openBase(flags.base);
    const fit = base ? { fingerprint: await base.fingerprint() } : {};
    const { warnings: notes, ...report } = await checkAdapter(adapter, base?.modules, fit);
    const warnings = [...(base?.warnings ?? []), ...notes];
    const rows = [
      ["folder", report.directory],
      ["kind", report.kind ?? "unknown"],
      ["base model", report.baseName ?? "not named"],
      ["checked against", report.against === "base" ? String(flags.base) : "itself; pass --base DIR to check the fit"],
      ...(report.modelTypes ? [["architectures", report.modelTypes.join(", ") || "none that is supported"]] : []),
      ["rank", report.ranks.join(", ") || "-"],
      ["scaling", report.scalings.join(", ") || "-"],
      ["dtype", report.dtypes.join(", ") || "-"],
      ["parameters", `${report.parameters} in ${report.bytes} bytes`],
      ["gates", report.gates ? "yes" : "no"],
      ["modules", String(report.modules.length)],
      ...report.modules.toSorted(byNumber).map((module) => ["", report.embeddings.includes(module) ? `${module} (embeddings)` : module]),
      [
        "usable",
        !report.usable ? "no" : report.against === "base" ? "yes" : "yes, if the base has such an architecture; check with --base DIR",
      ],
    ];
    show(io, flags, { ...report, warnings, problems: report.problems.map(onCommandLine) }, table(rows));
    warn(io, flags, warnings);
    const [problem] = report.problems;
    if (problem) throw Object.assign(new UserError(problem), { name: "AdapterError" });
  });
}
