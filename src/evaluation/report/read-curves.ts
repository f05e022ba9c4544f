/** @file Learning curves from the metrics.jsonl of training runs. */

import { copyFile, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../checkpoint/atomic.ts";
import type { Chart, Point, Series } from "../comparison/chart.ts";

const TITLES: Readonly<Record<string, string>> = { lora: "Experts", gate: "Gates", full: "All weights" };

const CONFIG = "config.json";
const METRICS = "metrics.jsonl";

/** The learning curves of all runs in a folder, one chart for each kind of training. */
export async function readCurves(folder: string): Promise<Chart[]> {
  const charts = new Map<string, Series[]>();
  for (const name of (await readdir(folder)).sort()) {
    const run = await readRun(join(folder, name));
    if (!run) continue;
    const series = charts.get(run.kind) ?? [];
    charts.set(run.kind, series);
    series.push({ name, points: run.training });
    if (run.validation.length > 0) series.push({ name, points: run.validation, dashed: true });
  }
  return [...charts].map(([kind, series]) => ({ title: TITLES[kind] ?? kind, x: "step", y: "loss per token", logarithmic: true, series }));
}

/** Copies what the curves of a folder's runs are read from, without the states that a run resumes from. */
export async function copyCurves(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (!(await readRun(join(from, name)))) continue;
    await mkdir(join(to, name), { recursive: true });
    for (const file of [CONFIG, METRICS]) await copyFile(join(from, name, file), join(to, name, file));
  }
}

async function readRun(folder: string): Promise<{ kind: string; training: Point[]; validation: Point[] } | undefined> {
  try {
    const config: unknown = JSON.parse(await readFile(join(folder, CONFIG), "utf8"));
    const lines = (await readFile(join(folder, METRICS), "utf8")).split("\n").filter((line) => line.trim() !== "");
    const metrics = lines.map((line): Record<string, number> => JSON.parse(line));
    const of = (field: string) => metrics.flatMap((line) => (line[field] === undefined ? [] : [{ x: line.step ?? 0, y: line[field] }]));
    const kind = typeof config === "object" && config !== null && "kind" in config ? String(config.kind) : "runs";
    return { kind, training: of("loss"), validation: of("validationLoss") };
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR" || error instanceof SyntaxError) return undefined; // no run, or one being written
    throw error;
  }
}
