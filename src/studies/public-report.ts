/** @file The report of the study on public data: tables with intervals, plots, and each claim of the papers with its numbers. */

import type { Chart } from "../evaluation/comparison/chart.ts";
import { chartSvg } from "../evaluation/report/chart-file.ts";
import { inMethodColors } from "../evaluation/report/method-colors.ts";
import { table } from "./over-seeds.ts";
import { bootstrapInterval, type Interval, type Measure, meanOf } from "./public-measures.ts";
import type { Measures, PublicSeed } from "./public-study.ts";
import { GROUPS } from "./public-tasks.ts";
import { useSvg } from "./use-map.ts";

/** What a study's results say of themselves. */
export interface PublicResults {
  readonly base: string;
  readonly commit: string;
  readonly command: string;
  readonly runs: readonly PublicSeed[];
}

/** The page, and the plots by name. `name` begins the plots' file names. */
export function publicReport(results: PublicResults, name: string): { markdown: string; plots: ReadonlyMap<string, string> } {
  const { base, commit, command, runs } = results;
  const [first] = runs as [PublicSeed];
  const charts = inMethodColors([
    sweepChart("Loss on held-out sets against the size of the pool", "experts", runs, ({ pool, main, order }) => ({
      ...pool,
      [order.length]: main,
    })),
    sweepChart("PHATGOOSE: loss on held-out sets against the steps of its gates", "gate steps", runs, ({ gates }) => gates),
  ]);
  const plots = new Map([
    ["pool", chartSvg(charts[0]!) ?? ""],
    ["gates", chartSvg(charts[1]!) ?? ""],
    ["use", useSvg(first)],
  ]);
  const counts = GROUPS.map((group) => `${tasksOf(first, group).length} ${group}`).join(", ");
  const markdown = `# The study on public data: ${base}

${first.order.length} experts; tasks: ${counts}. Seeds: ${runs.map(({ seed }) => seed).join(", ")}. Commit ${commit}.
Made by \`${command}\`. Losses are nats per answer token, less is better. Brackets: 95 % of bootstrap resamples of seeds and tasks.

## Every method

${mainTable(runs)}

† is chosen by its results on these tasks. LoraHub uses five labeled examples of each task.

## Settings of PHATGOOSE

${settingTable(runs, "k", ({ k }) => k)}

${settingTable(runs, "gate steps", ({ gates }) => gates)}

## Plots

![pool](${name}-pool.svg) ![gates](${name}-gates.svg) ![use](${name}-use.svg)

## The papers' claims

Differences in loss on held-out sets, the first method's minus the second's: below 0 the first is better. A claim holds if its whole interval is
below 0. A verdict from fewer than three seeds names their number.

| claim | here | difference |
| --- | --- | --- |
${claims(runs).join("\n")}
`;
  return { markdown, plots };
}

const tasksOf = ({ tasks }: PublicSeed, group: string) => tasks.filter((task) => task.group === group).map(({ name }) => name);
type Read = (measure: Measure) => number | undefined;
const loss: Read = (measure) => measure.loss;
const accuracy: Read = (measure) => measure.accuracy;

/** A method's values by seed and task of a group; seeds without the method and tasks without the measure are left out. */
function valuesOf(
  runs: readonly PublicSeed[],
  group: string,
  of: (run: PublicSeed) => Measures[string] | undefined,
  read: Read,
): number[][] {
  return runs.flatMap((run) => {
    const own = of(run);
    return own ? [tasksOf(run, group).flatMap((task) => (own[task] && read(own[task])) ?? [])] : [];
  });
}

function intervalText({ mean, low, high }: Interval, digits: number, factor = 1): string {
  if (!Number.isFinite(mean)) return "";
  const number = (x: number) => (factor * x).toFixed(digits);
  return `${number(mean)} [${number(low)}, ${number(high)}]`;
}

const BY_LABELS = new Set(["oracle", "best individual"]);

function mainTable(runs: readonly PublicSeed[]): string {
  const methods = [...new Set(runs.flatMap(({ main }) => Object.keys(main)))];
  const rows = methods.map((method) => {
    const losses = GROUPS.map((group) => intervalText(bootstrapInterval(valuesOf(runs, group, ({ main }) => main[method], loss)), 2));
    const right = ["held in", "held out"].map((group) => {
      const values = valuesOf(runs, group, ({ main }) => main[method], accuracy);
      const share = 100 * meanOf(values.map(meanOf));
      return Number.isFinite(share) ? share.toFixed(1) : "";
    });
    return [`${method}${BY_LABELS.has(method) ? " †" : ""}`, ...losses, ...right];
  });
  return table(["method", ...GROUPS.map((group) => `loss, ${group}`), "accuracy %, held in", "accuracy %, held out"], rows);
}

type Sweep = (run: PublicSeed) => Readonly<Record<string, Measures>>;

function settingTable(runs: readonly PublicSeed[], label: string, sweep: Sweep): string {
  const settings = Object.keys(sweep(runs[0]!));
  const rows = GROUPS.map((group) => [
    `loss, ${group}`,
    ...settings.map((setting) => meanOf(valuesOf(runs, group, (run) => sweep(run)[setting]?.phatgoose, loss).map(meanOf)).toFixed(3)),
  ]);
  return table([label, ...settings], rows);
}

function sweepChart(title: string, x: string, runs: readonly PublicSeed[], sweep: Sweep): Chart {
  const settings = Object.keys(sweep(runs[0]!));
  const methods = Object.keys(sweep(runs[0]!)[settings[0]!] ?? {});
  const series = methods.map((name) => ({
    name,
    points: settings.map((setting) => {
      const { mean, low, high } = bootstrapInterval(valuesOf(runs, "held out", (run) => sweep(run)[setting]?.[name], loss));
      return { x: Number(setting), y: mean, ...(runs.length > 1 && { error: (high - low) / 4 }) };
    }),
  }));
  return { title, x, y: "nats per answer token", series };
}

function claims(runs: readonly PublicSeed[]): string[] {
  const main = (method: string) => (run: PublicSeed) => run.main[method];
  const set =
    (sweep: Sweep, setting: number, method = "phatgoose") =>
    (run: PublicSeed) =>
      sweep(run)[setting]?.[method];
  const line = (claim: string, one: (run: PublicSeed) => Measures[string] | undefined, other: typeof one, group = "held out") => {
    const both = runs.filter((run) => one(run) && other(run));
    if (both.length === 0) return `| ${claim} | not measured | |`;
    const [a, b] = [valuesOf(both, group, one, loss), valuesOf(both, group, other, loss)];
    const difference = bootstrapInterval(a.map((values, s) => values.map((value, t) => value - b[s]![t]!)));
    return `| ${claim} | ${verdict(difference, both.length)} | ${intervalText(difference, 3)} |`;
  };
  const rivals = ["retrieval", "average-activation", "merged", "arrow", "spectr", "best individual", "oracle", "multitask"];
  const gates: Sweep = (run) => run.gates;
  const k: Sweep = (run) => run.k;
  const [small = "1"] = Object.keys(runs[0]!.pool);
  return [
    ...rivals.map((rival) => line(`PHATGOOSE better than ${rival} (Muqeeth et al. 2024)`, main("phatgoose"), main(rival))),
    line("PHATGOOSE better than uniform weights", main("phatgoose"), main("uniform")),
    line(
      `PHATGOOSE: all experts better than ${small}`,
      main("phatgoose"),
      set((run) => run.pool, Number(small)),
    ),
    line("PHATGOOSE: gates of 100 steps better than 10", set(gates, 100), set(gates, 10)),
    line("PHATGOOSE: gates of 300 steps better than 100", set(gates, 300), set(gates, 100)),
    line("PHATGOOSE: k = 2 better than k = 1", set(k, 2), set(k, 1)),
    line("PHATGOOSE: k = 3 better than k = 2", set(k, 3), set(k, 2)),
    line("PHATGOOSE better than retrieval on joined documents: experts by token", main("phatgoose"), main("retrieval"), "joined"),
    line("MoA better than one LoRA on all data (Feng et al. 2024), held in", main("moa"), main("multitask"), "held in"),
    line("MoA better than one LoRA on all data, held out", main("moa"), main("multitask")),
  ];
}

const FEWEST_SEEDS = 3;
function verdict({ low, high }: Interval, seeds: number): string {
  const found = high < 0 ? "holds" : low > 0 ? "does not hold: the reverse" : "undecided";
  return seeds < FEWEST_SEEDS ? `${found} (${seeds === 1 ? "one seed" : `${seeds} seeds`})` : found;
}
