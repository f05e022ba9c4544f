/** @file The report of an evaluation: tables, a traced answer, expert use and learning curves in one HTML file. */

import { basename } from "node:path";
import { counted } from "../../base/counted.ts";
import { writeFileAtomically } from "../../checkpoint/atomic.ts";
import type { Chart } from "../comparison/chart.ts";
import type { Evaluation } from "../comparison/evaluate.ts";
import { groupsOf } from "../comparison/evaluation-task.ts";
import { expertsGrid, isTold, leftOutText, meansGrid, tasksGrid } from "../comparison/grids.ts";
import type { RouteUsage } from "../scoring/route-usage.ts";
import type { Trace } from "../scoring/trace.ts";
import { chartFigure } from "./curves.ts";
import { traceFigure } from "./heatmap.ts";
import { escaped } from "./html.ts";
import { inMethodColors } from "./method-colors.ts";
import { page, type Section } from "./page.ts";
import { gridTable } from "./table.ts";
import { usageFigure } from "./usage.ts";

/** What a report page shows; parts that are absent are left out. */
export interface ReportParts {
  readonly title?: string;
  readonly evaluation: Evaluation;
  readonly trace?: Trace;
  /** Expert use under one router or several. */
  readonly usage?: readonly RouteUsage[];
  /** Learning curves. */
  readonly curves?: readonly Chart[];
  /** Sweeps over k, the size of the pool, and the like. */
  readonly sweeps?: readonly Chart[];
}

/** Writes the report to `path`.
 *  @throws CheckpointError where the file cannot be written. */
export async function writeReport(path: string, parts: ReportParts): Promise<void> {
  await writeFileAtomically(path, reportPage(parts));
}

/** The report as one HTML document. */
export function reportPage({
  title = "Experts, woven together",
  evaluation,
  trace,
  usage = [],
  curves = [],
  sweeps = [],
}: ReportParts): string {
  const { experts, base, date } = evaluation;
  const sections: Section[] = [...resultSections(evaluation)];
  if (trace) {
    sections.splice(1, 0, {
      title: "The experts of each token",
      about:
        "Each token in the color of the expert with the most weight over all modules; below, every module. Stronger color: more weight. Tap a cell.",
      body: `<p><b>Prompt</b> ${escaped(trace.prompt)}<br><b>Answer</b> ${escaped(trace.completion)}</p>\n${traceFigure(trace)}`,
    });
  }
  sections.push(...usageSections(usage, evaluation));
  if (sweeps.length > 0) {
    const about = "Mean scores ± one standard error. Smaller pools are the first experts of the pool, in its own order.";
    sections.push({ title: "Sweeps", about, body: inMethodColors(sweeps).map(chartFigure).join("\n") });
  }
  if (curves.length > 0) sections.push({ title: "Learning curves", body: inExpertColors(curves, experts).map(chartFigure).join("\n") });
  const counts = [
    counted(evaluation.methods.length, "method"),
    counted(evaluation.tasks.length, "task"),
    counted(experts.length, "expert"),
  ].join(", ");
  const facts = `<p class="facts">${escaped(counts)} · ${escaped(date.slice(0, 16).replace("T", " "))} UTC · base ${escaped(basename(base.path))} <code>${escaped(base.fingerprint.slice(0, 12))}</code></p>`;
  const footer = "± is one standard error over examples. † chosen by its results on these tasks: an upper bound, not a comparable method.";
  return page({ title, lead: takeaway(evaluation) + facts, sections, footer });
}

/** A section for each router: the first open, the others closed. */
function usageSections(usage: readonly RouteUsage[], { methods }: Evaluation): Section[] {
  const oracle = methods.find(({ kind }) => kind === "oracle");
  // If no expert has a right answer, none of them is the best.
  const isTelling = (task: string) => oracle?.tasks[task] && (oracle.tasks[task].lowerIsBetter || oracle.tasks[task].score.value > 0);
  const best = Object.fromEntries(Object.entries(oracle?.chosen ?? {}).filter(([task]) => isTelling(task)));
  return usage.map((one, i) => ({
    title: `Which experts serve which tasks${one.router ? `: ${one.router}` : ""}`,
    about:
      "Mean routing weight in per cent, over tokens and modules. Entropy: 0 when one expert serves everything, 1 when all serve alike.",
    body: usageFigure(one, best),
    folded: i > 0,
  }));
}

/** A run named after an expert, or "<expert>-gates", has that expert's color; others have their own colors. */
function inExpertColors(charts: readonly Chart[], experts: readonly string[]): Chart[] {
  return charts.map((chart) => ({
    ...chart,
    series: chart.series.map((series, i) => {
      const expert = experts.indexOf(series.name.replace(/-gates$/, ""));
      return { ...series, color: expert < 0 ? experts.length + i : expert };
    }),
  }));
}

function resultSections(evaluation: Evaluation): Section[] {
  const experts = expertsGrid(evaluation);
  return [
    {
      title: "Results",
      about: `Mean score over tasks, in per cent. Bold: the best of the methods that do not use the test labels.${leftOutText(evaluation)}`,
      body: gridTable(meansGrid(evaluation)),
    },
    { title: "Every task", body: gridTable(tasksGrid(evaluation), { grouped: true }) },
    ...(experts ? [{ title: "Every expert alone", body: gridTable(experts), folded: true }] : []),
  ];
}

/** For each group of tasks, a sentence with the best method. It says if the difference is within the error. */
function takeaway(evaluation: Evaluation): string {
  const { methods, tasks } = evaluation;
  const rivals = methods.filter((method) => method.kind !== "experts" && !isTold(method));
  if (rivals.length < 2 || tasks.some(({ name }) => rivals[0]!.tasks[name]!.lowerIsBetter)) return "";
  const groups = groupsOf(tasks);
  const lines = (groups.length > 0 ? groups : [undefined]).map((group) => {
    const means = rivals.map(({ name, kind, means: all }) => ({ name, kind, ...all.find((mean) => mean.group === group)! }));
    const [best, second] = [...means].sort((a, b) => b.value - a.value) as [(typeof means)[number], (typeof means)[number]];
    const isClear = best.value - second.value > 2 * Math.hypot(best.stderr, second.stderr);
    const others = means.filter(({ name, kind }) => name !== best.name && (name === second.name || kind === "base" || kind === "merged"));
    const beside = others.map(({ name, value }) => `${escaped(name)} ${percent(value)}`).join(", ");
    const lead = isClear ? "" : ", within the error of the next";
    return `<li>${escaped(group ?? "all tasks")}: <b>${escaped(best.name)} ${percent(best.value)}</b>${lead} (${beside})</li>`;
  });
  return `<ul class="lead">${lines.join("")}</ul>`;
}

const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
