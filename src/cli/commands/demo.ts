/** @file `skein demo`: trains experts and gates, makes a pool, routes, and compares. */

import type { Command } from "commander";
import * as z from "zod";
import type { Trace } from "../../evaluation/scoring/trace.ts";
import type { FarmEvent } from "../../fleet/crew.ts";
import { subcommand } from "../command.ts";
import { colored, legend } from "../expert-colors.ts";
import { farmTable } from "../farm-table.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { type Progress, progress } from "../progress.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";
import { addMoaDemo } from "./moa-demo.ts";
import { portFlag, servePlayground } from "./serve.ts";

const demoFlags = z.strictObject({
  out: z
    .string()
    .optional()
    .meta({ description: "The folder for all results. A stopped demo continues from it.", value: "dir", unset: "demo-out/seed-<n>" }),
  seed: z.int().min(0).default(1).meta({ description: "The seed of data, initial values and order." }),
  tests: z.int().min(1).default(100).meta({ description: "The number of test examples for each task." }),
  play: z
    .boolean()
    .default(false)
    .meta({ description: "Serve the pool and the playground at the end, until it is stopped, and open the page in your browser." }),
  ...portFlag,
});

export function addDemo(program: Command, io: Io, summary: string): void {
  const demo = subcommand(program, "demo", { summary, example: "skein demo --seed 2 --out demo-out" });
  withOptions(demo, demoFlags).action(async (flags: CommonFlags) => {
    const { DEMO_BASE } = await import("../../demo/evaluation-task.ts");
    const { runDemo } = await import("../../studies/demo.ts");
    const { resultsJson, saveResults } = await import("../../evaluation/comparison/results.ts");
    const { terminalGrid } = await import("../../evaluation/comparison/tables.ts");
    const { meansGrid, tasksGrid } = await import("../../evaluation/comparison/grids.ts");
    const { writeReport } = await import("../../evaluation/report/report.ts");
    const { seed, tests: numTests, play, port, ...given } = demoFlags.parse(optionsFrom(demoFlags, flags));
    const out = given.out ?? `demo-out/seed-${seed}`;
    const options = { out, seed, numTests };
    const parts = reporter(io, flags);
    const result = await interruptible(io, (signal) => runDemo({ ...options, signal, ...parts })).finally(parts.done);
    const page = `${out}/report.html`;
    await saveResults(`${out}/evaluation`, result.evaluation);
    await writeReport(page, { title: "Skein: the demo", ...result });
    const grids = [meansGrid, tasksGrid].map((grid) => terminalGrid(grid(result.evaluation), { colors: io.colors }));
    const text = [
      ...grids,
      await served(io, result.trace),
      `Table, learning curves, and the expert of each token at every module: ${page}`,
    ].join("\n\n");
    show(io, flags, { out, page, seconds: result.seconds, ...resultsJson(result.evaluation) }, text);
    const folders = { pool: `${out}/pool`, results: `${out}/evaluation`, runs: `${out}/runs` };
    if (play) await servePlayground(io, flags, { base: DEMO_BASE, port, ...folders });
  });
  addMoaDemo(demo, io);
}

/** The traced input and answer, each token in the color of the expert that served it most. */
async function served(io: Io, trace: Trace): Promise<string> {
  const { expertsOfTokens } = await import("../../evaluation/scoring/trace.ts");
  const lines = trace.parts.map((part) => {
    const owners = expertsOfTokens(part);
    const words = part.tokens.map((token, i) => (io.colors ? colored(token, owners[i]!) : token));
    return `${part.name.padEnd(6)} ${words.join("")}`;
  });
  return [...(io.colors ? [legend(trace.experts)] : []), ...lines].join("\n");
}

/** A table of the experts that are made, and a bar for each part after them. */
function reporter(io: Io, flags: CommonFlags) {
  const table = farmTable(io, flags);
  let current: { label: string; bar: Progress } | undefined;
  const barOf = (label: string): Progress => {
    if (current?.label === label) return current.bar;
    if (current) current.bar.done();
    else table.done();
    current = { label, bar: progress(io, flags, { label }) };
    return current.bar;
  };
  return {
    onFarm: (event: FarmEvent) => table.update(event),
    onPart: (part: string, state?: Parameters<Progress["update"]>[0]) => state && barOf(part).update(state),
    onEvaluation: ({ method, task, finished, total }: { method: string; task: string; finished: number; total: number }) =>
      barOf("evaluation").update({ step: finished, steps: total, note: `${method}: ${task}` }),
    done: () => (current ? current.bar.done() : table.done()),
  };
}
