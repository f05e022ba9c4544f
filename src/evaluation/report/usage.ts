/** @file Expert use as colored tables: tasks x experts, layers x experts, with entropy and agreement with the oracle. */

import { entropyOf, type ModuleUse, meanUse, type RouteUsage, type TaskUse } from "../scoring/route-usage.ts";
import { escaped } from "./html.ts";
import { markClass } from "./look.ts";
import { layerOf } from "./modules.ts";

/** `oracle`: each task's best single expert, by task name. */
export function usageFigure({ experts, tasks }: RouteUsage, oracle: Readonly<Record<string, string>> = {}): string {
  const hasOracle = tasks.some(({ task }) => oracle[task] !== undefined);
  const rows = tasks.map((task) => {
    const use = meanUse(task.modules);
    return lineHtml(
      task.task,
      use,
      experts,
      hasOracle ? [entropyText(use), agreementText(use, experts, oracle[task.task])] : [entropyText(use)],
    );
  });
  const extra = ["entropy", ...(hasOracle ? ["on oracle"] : [])];
  const chance = experts.length > 0 ? (100 / experts.length).toFixed(0) : "0";
  const note = hasOracle
    ? `<p class="note">On oracle: the share of weight given to the expert that does best on the task alone; ${chance} % by chance.</p>`
    : "";
  const both = tasks.flatMap((task) => {
    const heading = `<tr class="group"><th scope="rowgroup" colspan="${experts.length + 2}">${escaped(task.task)}</th></tr>`;
    return [heading, ...layerLines([task], experts)];
  });
  return `<h3>By task</h3>\n${useTable("task", experts, extra, rows)}\n${note}
<h3>By layer</h3>\n${useTable("layer", experts, ["entropy"], layerLines(tasks, experts))}
<details><summary>By task and layer</summary>${useTable("layer", experts, ["entropy"], both)}</details>`;
}

function useTable(corner: string, experts: readonly string[], extra: readonly string[], rows: readonly string[]): string {
  const names = [...experts, ...extra].map((name) => `<th scope="col"><span>${escaped(name)}</span></th>`).join("");
  const head = `<th scope="col">${escaped(corner)}</th>${names}`;
  return `<div class="scroll"><table class="grid use"><thead><tr>${head}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

function lineHtml(name: string, use: readonly number[], experts: readonly string[], extra: readonly string[]): string {
  const top = Math.max(...use);
  const cells = use.map((share, expert) => {
    const tip = `${name}: ${experts[expert] ?? expert} ${(100 * share).toFixed(1)} %`;
    const text = share === top ? `<b>${(100 * share).toFixed(0)}</b>` : (100 * share).toFixed(0);
    return `<td class="${markClass(expert)}" style="--w:${Math.min(1, 1.2 * share).toFixed(2)}" data-tip="${escaped(tip)}">${text}</td>`;
  });
  const rest = extra.map((text) => `<td>${escaped(text)}</td>`);
  return `<tr><th scope="row">${escaped(name)}</th>${cells.join("")}${rest.join("")}</tr>`;
}

const entropyText = (use: readonly number[]) => entropyOf(use).toFixed(2);

function agreementText(use: readonly number[], experts: readonly string[], oracle: string | undefined): string {
  const index = oracle === undefined ? -1 : experts.indexOf(oracle);
  return index < 0 ? "" : `${(100 * use[index]!).toFixed(0)} %`;
}

function layerLines(tasks: readonly TaskUse[], experts: readonly string[]): string[] {
  return layersOf(tasks).map(({ layer, modules }) => lineHtml(layer, meanUse(modules), experts, [entropyText(meanUse(modules))]));
}

/** The modules of all tasks, grouped by layer in order of appearance. */
function layersOf(tasks: readonly TaskUse[]): { layer: string; modules: ModuleUse[] }[] {
  const layers = new Map<string, ModuleUse[]>();
  for (const { modules } of tasks) {
    for (const one of modules) {
      const layer = layerOf(one.module);
      layers.set(layer, [...(layers.get(layer) ?? []), one]);
    }
  }
  return [...layers].map(([layer, modules]) => ({ layer, modules }));
}
