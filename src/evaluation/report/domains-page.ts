/** @file Results by domain, as tables and as a page: methods x domains for each metric, the routers' accuracy by layer, the confusion matrix. */

import type { DomainMetric, DomainScores, RouterReport } from "../comparison/domains.ts";
import type { Grid } from "../comparison/grids.ts";
import { markdownGrid } from "../comparison/tables.ts";
import { escaped } from "./html.ts";
import { page } from "./page.ts";
import { gridTable } from "./table.ts";

export interface DomainResults {
  readonly title: string;
  /** Scores by method, then by domain. */
  readonly methods: ReadonlyMap<string, ReadonlyMap<string, DomainScores>>;
  /** Methods that are given the domains; never marked as best. */
  readonly told: ReadonlySet<string>;
  readonly routers: RouterReport;
  /** Share of texts whose domain a separate classifier finds. */
  readonly classifier?: number;
}

const METRICS: Readonly<Record<DomainMetric, { readonly title: string; readonly isShare: boolean; readonly lower?: true }>> = {
  perplexity: { title: "Perplexity of the right answers", isShare: false, lower: true },
  exactMatch: { title: "Exact match, per cent", isShare: true },
  rougeL: { title: "ROUGE-L, per cent", isShare: true },
  bleu: { title: "BLEU", isShare: false },
};
const metricsShown = Object.keys(METRICS) as DomainMetric[];

/** Methods x domains and their mean (of perplexities, the geometric mean). */
export function domainGrid({ methods, told }: DomainResults, metric: DomainMetric): Grid {
  const { isShare, lower } = METRICS[metric];
  const domains = [...([...methods.values()][0]?.keys() ?? [])];
  const rows = [...methods].map(([name, scores]) => {
    const values = domains.map((domain) => scores.get(domain)![metric]);
    return { name, values: [...values, mean(values, lower === true)] };
  });
  const best = (column: number) => {
    const values = rows.filter(({ name }) => !told.has(name)).map(({ values }) => values[column]!);
    return lower ? Math.min(...values) : Math.max(...values);
  };
  const tops = [...domains, "mean"].map((_, column) => best(column));
  const lines = rows.map(({ name, values }) => ({
    name,
    ...(told.has(name) && { note: "told the domain" }),
    cells: values.map((value, i) => ({ value, stderr: Number.NaN, isShare, best: !told.has(name) && value === tops[i] })),
  }));
  return { corner: "method", columns: [...domains, "mean"], lines };
}

function mean(values: readonly number[], geometric: boolean): number {
  const sum = values.reduce((total, value) => total + (geometric ? Math.log(value) : value), 0);
  return geometric ? Math.exp(sum / values.length) : sum / values.length;
}

/** How often each layer's router, each rule and the classifier find the right domain. */
export function accuracyGrid({ routers, classifier }: Pick<DomainResults, "routers" | "classifier">): Grid {
  const line = (name: string, value: number) => ({ name, cells: [{ value, stderr: Number.NaN, isShare: true, best: false }] });
  const { vote, last } = routers.rules;
  const lines = [
    ...routers.layers.map(({ layer, accuracy }) => line(`router before ${layer}`, accuracy)),
    line("vote", vote),
    line("last", last),
    ...(classifier === undefined ? [] : [line("classifier", classifier)]),
  ];
  return { corner: "who decides", columns: ["right, per cent"], lines };
}

function confusionTable({ domains, confusion }: RouterReport): string {
  const head = ["own \\ named", ...domains].map((name) => `<th scope="col">${escaped(name)}</th>`).join("");
  const rows = confusion.map((counts, own) => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    const cells = counts.map((count) => `<td class="share" style="--v:${((100 * count) / Math.max(1, total)).toFixed(1)}%">${count}</td>`);
    return `<tr><th scope="row">${escaped(domains[own]!)}</th>${cells.join("")}</tr>`;
  });
  return `<div class="scroll"><table class="grid"><thead><tr>${head}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

/** The page. */
export function domainsPage(results: DomainResults): string {
  const { title, routers, told } = results;
  return page({
    title,
    ...(told.size > 0 && {
      footer: "† is given each text's domain and is not comparable with the others. Bold: the best of the others.",
    }),
    sections: [
      ...metricsShown.map((metric) => ({ title: METRICS[metric].title, body: gridTable(domainGrid(results, metric)) })),
      {
        title: "Accuracy of the routers",
        about: "Each layer's router alone, the rules that sum them up, and a classifier apart from the model.",
        body: gridTable(accuracyGrid(results)),
      },
      { title: "Confusion", about: "Texts of each domain (rows) by the domain the vote names.", body: confusionTable(routers) },
    ],
  });
}

/** The same tables as Markdown. */
export function domainsMarkdown(results: DomainResults): string {
  const grids = metricsShown.map((metric) => `## ${METRICS[metric].title}\n\n${markdownGrid(domainGrid(results, metric))}`);
  return `${[...grids, `## Accuracy of the routers\n\n${markdownGrid(accuracyGrid(results))}`].join("\n\n")}\n`;
}
