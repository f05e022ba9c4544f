/** @file An evaluation's tables as Markdown and for a terminal. Shares are in per cent, with their standard errors. */

import type { Evaluation } from "./evaluate.ts";
import { type Cell, errorText, expertsGrid, type Grid, leftOutText, meansGrid, tasksGrid, valueText } from "./grids.ts";

/** All tables as Markdown: means, tasks, single experts. */
export function markdownTables(evaluation: Evaluation): string {
  const experts = expertsGrid(evaluation);
  const parts = [
    `## Means over tasks\n\n${markdownGrid(meansGrid(evaluation))}`,
    `## Tasks\n\n${markdownGrid(tasksGrid(evaluation))}`,
    ...(experts ? [`## Single experts\n\n${markdownGrid(experts)}`] : []),
  ];
  return `${parts.join("\n\n")}\n\nPer cent, ± one standard error; perplexities unchanged. Bold: the best of the methods that do not use the test labels.${leftOutText(evaluation)}\n`;
}

/** One table as Markdown, the best in bold. */
export function markdownGrid({ corner, columns, lines }: Grid): string {
  const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const cell = (one: Cell) => `${one.best ? `**${valueText(one)}**` : valueText(one)} ${errorText(one)}`.trim();
  return [
    row([corner, ...columns]),
    row(["---", ...columns.map(() => "---:")]),
    ...lines.map(({ name, note, detail, cells }) => row([`${name}${remark(note, detail)}`, ...cells.map(cell)])),
  ].join("\n");
}

function remark(...parts: readonly (string | undefined)[]): string {
  const known = parts.filter((part) => part !== undefined);
  return known.length > 0 ? ` (${known.join("; ")})` : "";
}

export interface TerminalOptions {
  /** Write escape codes: the best bold, errors dim. */
  readonly colors: boolean;
}

/** One table in columns, the best marked with a star. */
export function terminalGrid({ corner, columns, lines }: Grid, { colors }: TerminalOptions): string {
  const dim = (text: string) => (colors ? `\u001b[2m${text}\u001b[22m` : text);
  const bold = (text: string) => (colors ? `\u001b[1m${text}\u001b[22m` : text);
  const names = lines.map(({ name, note }) => (note ? `${name} (${note})` : name));
  const left = Math.max(corner.length, ...names.map(({ length }) => length));
  const texts = lines.map(({ cells }) =>
    cells.map((cell) => ({ value: valueText(cell) + (cell.best ? "*" : " "), error: errorText(cell) })),
  );
  const widths = columns.map((column, c) => {
    const [value, error] = [Math.max(...texts.map((row) => row[c]!.value.length)), Math.max(...texts.map((row) => row[c]!.error.length))];
    return { value: Math.max(value, column.length - error - 1), error };
  });
  const head = columns.map((column, c) => column.padStart(widths[c]!.value + widths[c]!.error + 1));
  const rows = texts.map((row, r) => {
    const cells = row.map(({ value, error }, c) => {
      const { value: width, error: errorWidth } = widths[c]!;
      const padded = value.padStart(width);
      return `${lines[r]!.cells[c]!.best ? bold(padded) : padded} ${dim(error.padEnd(errorWidth))}`;
    });
    return `${names[r]!.padEnd(left)}  ${cells.join("  ")}`.trimEnd();
  });
  return [dim(`${corner.padEnd(left)}  ${head.join("  ")}`), ...rows].join("\n");
}

/** The means for a terminal. */
export function terminalTable(evaluation: Evaluation, options: TerminalOptions): string {
  const table = terminalGrid(meansGrid(evaluation), options);
  const left = leftOutText(evaluation).trim();
  return left === "" ? table : `${table}\n${left}`;
}
