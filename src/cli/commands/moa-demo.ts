/** @file `skein demo moa`: trains and compares Mixture-of-LoRAs and its baselines. */

import type { Command } from "commander";
import * as z from "zod";
import { subcommand } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { type Progress, progress } from "../progress.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";

const moaDemoFlags = z.strictObject({
  out: z.string().default("moa-demo").meta({ description: "The folder for all results. A stopped demo continues from it.", value: "dir" }),
  seed: z.int().min(0).default(1).meta({ description: "The seed of data, initial values and order." }),
  tests: z.int().min(1).default(100).meta({ description: "The number of test examples for each domain." }),
  ablations: z
    .boolean()
    .default(false)
    .meta({ description: "Also train without labels, from scratch, on adapted states, with frozen LoRAs (twice the time)." }),
});

export function addMoaDemo(demo: Command, io: Io): void {
  const command = subcommand(demo.enablePositionalOptions(), "moa", {
    summary: "Train a LoRA for each of five domains and routers that distinguish them, and compare with every baseline.",
    example: "skein demo moa --seed 2 --out moa-demo",
  });
  withOptions(command, moaDemoFlags).action(async (flags: CommonFlags) => {
    const { runMoaDemo } = await import("../../demo/moa-demo.ts");
    const { accuracyGrid, domainGrid, domainsMarkdown, domainsPage } = await import("../../evaluation/report/domains-page.ts");
    const { terminalGrid } = await import("../../evaluation/comparison/tables.ts");
    const { writeFileAtomically } = await import("../../checkpoint/atomic.ts");
    const { tests: numTests, ...options } = moaDemoFlags.parse(optionsFrom(moaDemoFlags, flags));
    const { out } = options;
    const parts = reporter(io, flags);
    const study = await interruptible(io, (signal) => runMoaDemo({ ...options, numTests, signal, onPart: parts.onPart })).finally(
      parts.done,
    );
    const methods = Object.fromEntries([...study.methods].map(([name, scores]) => [name, Object.fromEntries(scores)]));
    const { routers, classifier } = study;
    const results = { methods, routers, classifier };
    await writeFileAtomically(`${out}/results.json`, `${JSON.stringify(results, null, 2)}\n`);
    await writeFileAtomically(`${out}/results.md`, domainsMarkdown(study));
    await writeFileAtomically(`${out}/report.html`, domainsPage(study));
    const colors = { colors: io.colors };
    const grids = [domainGrid(study, "exactMatch"), domainGrid(study, "perplexity"), accuracyGrid(study)];
    const text = [...grids.map((grid) => terminalGrid(grid, colors)), `The whole comparison: ${out}/report.html`].join("\n\n");
    show(io, flags, { out, ...results }, text);
  });
}

/** A bar for each part of the training. */
function reporter(io: Io, flags: CommonFlags) {
  let current: { label: string; bar: Progress } | undefined;
  return {
    onPart: (label: string, state?: Parameters<Progress["update"]>[0]) => {
      if (current?.label !== label) {
        current?.bar.done();
        current = { label, bar: progress(io, flags, { label }) };
      }
      if (state) current.bar.update(state);
    },
    done: () => current?.bar.done(),
  };
}
