/** @file The tables of an evaluation, independent of their format.
 *
 *    meansGrid    methods x groups of tasks       the summary
 *    tasksGrid    tasks x methods                 the details
 *    expertsGrid  experts x tasks                 every expert alone
 *
 *  The best of each line or column is marked. Methods that use the test labels (best individual, oracle) are shown, but they are
 *  never marked. */

import type { Evaluation, MethodResult } from "./evaluate.ts";
import { groupsOf } from "./evaluation-task.ts";
import { expertOfRow } from "./expert-row.ts";

export interface Cell {
  readonly value: number;
  readonly stderr: number;
  /** Share in 0..1, or a perplexity. */
  readonly isShare: boolean;
  readonly best: boolean;
}
export interface GridLine {
  readonly name: string;
  /** The group it belongs to, or a remark. */
  readonly note?: string;
  /** The kind of its numbers. */
  readonly detail?: string;
  readonly cells: readonly Cell[];
}
export interface Grid {
  readonly corner: string;
  readonly columns: readonly string[];
  readonly lines: readonly GridLine[];
}

/** Whether the method uses the test labels. */
export function isTold({ kind }: Pick<MethodResult, "kind">): boolean {
  return kind === "oracle" || kind === "best_individual";
}

const NOTES: Partial<Record<MethodResult["kind"], string>> = {
  best_individual: "chosen by its results",
  oracle: "chosen by its results",
};

/** All methods except the single experts, with the mean over each group's tasks and over all. */
export function meansGrid({ methods, tasks }: Evaluation): Grid {
  const groups = groupsOf(tasks);
  const own = methods.filter(({ kind }) => kind !== "experts");
  const rows = own.length > 0 ? own : methods;
  const keys = groups.length > 1 ? [...groups, undefined] : [undefined];
  const columns = keys.map((key) => {
    const means = rows.map((method) => method.means.find(({ group }) => group === key)!);
    const lower = tasks.every(({ name }) => rows[0]!.tasks[name]!.lowerIsBetter);
    return marked(means, rows, lower);
  });
  const lines = rows.map((method, i) => ({ ...named(method), cells: columns.map((column) => column[i]!) }));
  return { corner: "method", columns: keys.map((key) => key ?? "all tasks"), lines };
}

/** Every task by every method, except the single experts. */
export function tasksGrid({ methods, tasks }: Evaluation): Grid {
  const own = methods.filter(({ kind }) => kind !== "experts");
  const columns = own.length > 0 ? own : methods;
  const lines = tasks.map(({ name, group }) => {
    const results = columns.map((method) => method.tasks[name]!);
    const cells = marked(
      results.map(({ score }) => score),
      columns,
      results[0]!.lowerIsBetter,
    );
    const detail = `${Object.keys(results[0]!.metrics).join(", ")}, ${results[0]!.score.n} examples`;
    return { name, ...(group !== undefined && { note: group }), detail, cells };
  });
  return { corner: "task", columns: columns.map(({ name }) => name), lines };
}

/** Every single expert on every task; undefined when they were not run. */
export function expertsGrid({ methods, tasks }: Evaluation): Grid | undefined {
  const rows = methods.filter(({ kind }) => kind === "experts");
  if (rows.length === 0) return undefined;
  const columns = tasks.map(({ name }) => {
    const results = rows.map((method) => method.tasks[name]!);
    return marked(
      results.map(({ score }) => score),
      rows,
      results[0]!.lowerIsBetter,
    );
  });
  const lines = rows.map(({ name }, i) => ({ name: expertOfRow(name) ?? name, cells: columns.map((column) => column[i]!) }));
  return { corner: "expert", columns: tasks.map(({ name }) => name), lines };
}

/** The tasks that are not in the means, as a sentence to append; empty if all are. */
export function leftOutText({ methods, tasks }: Evaluation): string {
  const left = tasks.filter(({ name }) => methods[0]?.tasks[name]?.lowerIsBetter);
  if (left.length === 0 || left.length === tasks.length) return "";
  return ` Means leave out what is no share: ${left.map(({ name }) => name).join(", ")}.`;
}

function named(method: MethodResult): Omit<GridLine, "cells"> {
  const note = NOTES[method.kind];
  return { name: method.name, ...(note && { note }) };
}

function marked(
  values: readonly { readonly value: number; readonly stderr: number }[],
  methods: readonly MethodResult[],
  lowerIsBetter: boolean,
): Cell[] {
  const rivals = values.filter((_, i) => !isTold(methods[i]!)).map(({ value }) => value);
  const best = lowerIsBetter ? Math.min(...rivals) : Math.max(...rivals);
  return values.map(({ value, stderr }, i) => ({
    value,
    stderr,
    isShare: !lowerIsBetter,
    best: rivals.some((rival) => rival !== best) && value === best && !isTold(methods[i]!),
  }));
}

/** "53.4" for a share in per cent, "12.31" for a perplexity. */
export function valueText({ value, isShare }: Pick<Cell, "value" | "isShare">): string {
  return isShare ? (100 * value).toFixed(1) : value.toPrecision(4);
}
/** "±2.1" likewise; empty without an error. */
export function errorText({ stderr, isShare }: Pick<Cell, "stderr" | "isShare">): string {
  if (!Number.isFinite(stderr)) return "";
  return isShare ? `±${(100 * stderr).toFixed(1)}` : `±${stderr.toPrecision(2)}`;
}
