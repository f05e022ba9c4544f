/** @file The report of the study, over its seeds: tables, plots, and each claim of the papers with its numbers.
 *
 *  A number is the mean over seeds of the mean over tasks; ± is its standard error over seeds (over-seeds.ts). */

import type { Chart } from "../evaluation/comparison/chart.ts";
import { chartSvg } from "../evaluation/report/chart-file.ts";
import { inMethodColors } from "../evaluation/report/method-colors.ts";
import { over, table, text, verdict } from "./over-seeds.ts";
import type { Scores, StudySeed } from "./study.ts";

/** The page, and the plots by name. */
export function studyReport(runs: readonly StudySeed[]): { readonly markdown: string; readonly plots: ReadonlyMap<string, string> } {
  const [first] = runs;
  const charts = inMethodColors([
    sweepChart("Experts per token", "k", runs, ({ k }) => k),
    sweepChart("Size of the pool", "experts", runs, ({ pool }) => pool),
    sweepChart("Steps of gate training", "steps", runs, ({ gates }) => gates),
  ]);
  const plots = new Map(["k", "pool", "gates"].map((name, i) => [name, chartSvg(charts[i]!) ?? ""]));
  const tests = first ? `${first.numTests.heldIn} test examples of each held-in task, ${first.numTests.heldOut} of each held-out one` : "";
  const markdown = `# The study

${first?.heldIn.length} experts, ${first?.heldOut.length} held-out tasks (${first?.heldOut.join(", ")}), exact match in per cent, ${tests}.
Seeds run: ${runs.map(({ seed }) => seed).join(", ")}. ± is one standard error over seeds${runs.length === 1 ? " (none with one seed)" : ""}.
Made by \`recipes/study.mjs\`; base, data and texts are the demo's (docs/demo.md): a small model on made-up tasks, so what holds here need not hold
at the papers' size, nor the other way round.

## Every method

${mainTable(runs)}

† is chosen by its results on these tasks. LoraHub uses five labeled examples of each task; no other method does.

## Held-out tasks, one by one

${taskTable(runs)}

## Turning the knobs (held-out tasks)

k: experts per token. ![k](study-k.svg)

${sweepTable(runs, ({ k }) => k, "k")}

Pools grow in an order drawn by the seed, so small pools lack the experts that some tasks need. ![pool](study-pool.svg)

${sweepTable(runs, ({ pool }) => pool, "experts")}

Gates of 0 steps are all alike: every score ties, and ties go to the first experts. ![gates](study-gates.svg)

${sweepTable(runs, ({ gates }) => gates, "gate steps")}

## The papers' claims

| claim | here | difference |
| --- | --- | ---: |
${claims(runs).join("\n")}
`;
  return { markdown, plots };
}

const TOLD = new Set(["oracle", "best individual"]);

function mainTable(runs: readonly StudySeed[]): string {
  const methods = Object.keys(runs[0]?.main ?? {});
  const kinds: [string, (run: StudySeed) => readonly string[]][] = [
    ["held in", ({ heldIn }) => heldIn],
    ["held out", ({ heldOut }) => heldOut],
    ["held out: one part", ({ heldOut }) => heldOut.filter((name) => !name.includes("+"))],
    ["held out: compound", ({ heldOut }) => heldOut.filter((name) => name.includes("+"))],
  ];
  const rows = methods.map((method) => {
    const cells = kinds.map(([, tasks]) => text(over(runs, (run) => meanOf(run.main[method], tasks(run)))));
    return [`${method}${TOLD.has(method) ? " †" : ""}`, ...cells];
  });
  return table(["method", ...kinds.map(([name]) => name)], rows);
}

function taskTable(runs: readonly StudySeed[]): string {
  const tasks = runs[0]?.heldOut ?? [];
  const rows = Object.keys(runs[0]?.main ?? {}).map((method) => {
    const cells = tasks.map((task) => text(over(runs, (run) => run.main[method]?.[task] ?? Number.NaN)));
    return [method, ...cells];
  });
  return table(["method", ...tasks], rows);
}

type Sweep = (run: StudySeed) => Readonly<Record<string, Scores>>;

function sweepTable(runs: readonly StudySeed[], sweep: Sweep, label: string): string {
  const methods = Object.entries(sweep(runs[0]!));
  const settings = Object.keys(methods[0]?.[1] ?? {});
  const rows = methods.map(([method]) => [method, ...settings.map((setting) => text(setScore(runs, sweep, method, setting)))]);
  return table([label, ...settings], rows);
}

function sweepChart(title: string, x: string, runs: readonly StudySeed[], sweep: Sweep): Chart {
  const series = Object.entries(sweep(runs[0]!)).map(([name, settings]) => ({
    name,
    points: Object.keys(settings).map((setting) => {
      const { value, error } = setScore(runs, sweep, name, setting);
      return { x: Number(setting), y: 100 * value, ...(Number.isFinite(error) && { error: 100 * error }) };
    }),
  }));
  return { title, x, y: "exact match on held-out tasks, %", series };
}

const setScore = (runs: readonly StudySeed[], sweep: Sweep, method: string, setting: string) =>
  over(runs, (run) => meanOf(sweep(run)[method]?.[setting], run.heldOut));

function claims(runs: readonly StudySeed[]): string[] {
  const main = (method: string) => (run: StudySeed) => meanOf(run.main[method], run.heldOut);
  const set = (sweep: Sweep, method: string, setting: number) => (run: StudySeed) => meanOf(sweep(run)[method]?.[setting], run.heldOut);
  const pool: Sweep = (run) => run.pool;
  const gates: Sweep = (run) => run.gates;
  const k: Sweep = (run) => run.k;
  const line = (claim: string, above: (run: StudySeed) => number, below: (run: StudySeed) => number) => {
    const difference = over(runs, (run) => above(run) - below(run));
    return `| ${claim} | ${verdict(difference, runs.length)} | ${text(difference)} |`;
  };
  const rivals = ["retrieval", "average-activation", "arrow", "merged", "best individual", "oracle", "multitask"];
  return [
    ...rivals.map((rival) => line(`PHATGOOSE above ${rival} (Muqeeth et al. 2024)`, main("phatgoose"), main(rival))),
    line("PHATGOOSE: 16 experts above 4 (a larger pool helps)", set(pool, "phatgoose", 16), set(pool, "phatgoose", 4)),
    line("PHATGOOSE: gates of 100 steps above 10", set(gates, "phatgoose", 100), set(gates, "phatgoose", 10)),
    line("PHATGOOSE: gates of 300 steps above 100 (the paper stops at 100)", set(gates, "phatgoose", 300), set(gates, "phatgoose", 100)),
    line("PHATGOOSE: k = 2 above k = 1", set(k, "phatgoose", 2), set(k, "phatgoose", 1)),
    line("PHATGOOSE: k = 5 above k = 2", set(k, "phatgoose", 5), set(k, "phatgoose", 2)),
    line("SpectR above Arrow (Fleshman and Van Durme 2025)", main("spectr"), main("arrow")),
    line("Arrow above uniform (Ostapenko et al. 2024)", main("arrow"), main("uniform")),
    line("LoraHub from five examples above the base (Huang et al. 2023)", main("lorahub"), main("base")),
  ];
}

function meanOf(scores: Readonly<Record<string, number>> | undefined, tasks: readonly string[]): number {
  return tasks.reduce((sum, task) => sum + (scores?.[task] ?? Number.NaN), 0) / tasks.length;
}
