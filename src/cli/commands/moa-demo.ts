/** @file `skein demo moa`: Mixture-of-LoRAs and its baselines, trained and compared while you watch. */

import type { Command } from "commander";
import { subcommand, wholeNumber } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { type Progress, progress } from "../progress.ts";

interface Flags extends CommonFlags {
  readonly out: string;
  readonly seed?: number;
  readonly tests?: number;
  readonly ablations?: boolean;
}

export function addMoaDemo(demo: Command, io: Io): void {
  subcommand(demo.enablePositionalOptions(), "moa", {
    summary: "Train a LoRA for each of five domains and routers that tell them apart, and compare with every baseline.",
    example: "skein demo moa --seed 2 --out moa-demo",
  })
    .option("--out <dir>", "folder of everything it makes; a stopped demo goes on from there", "moa-demo")
    .option("--seed <n>", "decides data, first values and order (default: 1)", wholeNumber(0))
    .option("--tests <n>", "test examples of each domain (default: 100)", wholeNumber(1))
    .option("--ablations", "also train without labels, from scratch, on adapted states, with frozen LoRAs (twice the time)")
    .action(async (flags: Flags) => {
      const { runMoaDemo } = await import("../../demo/moa-demo.ts");
      const { accuracyGrid, domainGrid, domainsMarkdown, domainsPage } = await import("../../evaluation/report/domains-page.ts");
      const { terminalGrid } = await import("../../evaluation/comparison/tables.ts");
      const { writeFileAtomically } = await import("../../checkpoint/atomic.ts");
      const { out, seed, tests, ablations } = flags;
      const options = { out, ...(seed !== undefined && { seed }), ...(tests && { numTests: tests }), ...(ablations && { ablations }) };
      const parts = reporter(io, flags);
      const study = await interruptible(io, (signal) => runMoaDemo({ ...options, signal, onPart: parts.onPart })).finally(parts.done);
      const methods = Object.fromEntries([...study.methods].map(([name, scores]) => [name, Object.fromEntries(scores)]));
      const { routers, classifier } = study;
      const results = { methods, routers, classifier };
      await writeFileAtomically(`${out}/results.json`, `${JSON.stringify(results, null, 2)}\n`);
      await writeFileAtomically(`${out}/results.md`, domainsMarkdown(study));
      await writeFileAtomically(`${out}/report.html`, domainsPage(study));
      const colours = { colours: io.colours };
      const grids = [domainGrid(study, "exactMatch"), domainGrid(study, "perplexity"), accuracyGrid(study)];
      const text = [...grids.map((grid) => terminalGrid(grid, colours)), `The whole comparison: ${out}/report.html`].join("\n\n");
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
