/** @file The report of a comparison of Mixture-of-LoRAs with its baselines, over seeds: tables, plots, and each claim of the paper
 *  (arXiv:2403.03432) with its numbers. Perplexities are compared by their logarithms, with geometric means over domains. */

import type { DOMAIN_METRICS, DomainMetric, DomainScores, RouterReport } from "../evaluation/comparison/domains.ts";
import { chartSvg } from "../evaluation/report/chart-file.ts";
import type { DomainResults } from "../evaluation/report/domains-page.ts";
import { type Mean, over, table, text, verdict } from "./over-seeds.ts";

/** The stored results of one seed. */
export interface MoaRun {
  readonly seed: number;
  /** By method, then by domain. */
  readonly methods: Readonly<Record<string, Readonly<Record<string, DomainScores>>>>;
  /** Methods that are given the domains. */
  readonly told: readonly string[];
  readonly routers: RouterReport;
  readonly classifier: number;
}

export function moaRun(seed: number, { methods, told, routers, classifier = Number.NaN }: DomainResults): MoaRun {
  const scores = Object.fromEntries([...methods].map(([method, byDomain]) => [method, Object.fromEntries(byDomain)]));
  return { seed, methods: scores, told: [...told], routers, classifier };
}

export interface MoaReportOptions {
  readonly title: string;
  /** A description of the comparison, for the top of the page. */
  readonly about: string;
  /** The name of the plots next to the page: `<plots>-accuracy.svg`. */
  readonly plots: string;
  /** The metric for judging the claims. */
  readonly metric: DomainMetric;
}

const METRICS: Readonly<Record<DomainMetric, { readonly title: string; readonly factor: number; readonly digits: number }>> = {
  perplexity: { title: "perplexity", factor: 1, digits: 3 },
  exactMatch: { title: "exact match, %", factor: 100, digits: 1 },
  rougeL: { title: "ROUGE-L, %", factor: 100, digits: 1 },
  bleu: { title: "BLEU", factor: 1, digits: 1 },
};
const inColumns = ["perplexity", "exactMatch", "rougeL", "bleu"] as const satisfies readonly (typeof DOMAIN_METRICS)[number][];

/** The page, and the plots by name. */
export function moaReport(
  runs: readonly MoaRun[],
  options: MoaReportOptions,
): { readonly markdown: string; readonly plots: ReadonlyMap<string, string> } {
  const { title, about, plots, metric } = options;
  const seeds = runs.map(({ seed }) => seed).join(", ");
  const markdown = `# ${title}

${about}
Seeds run: ${seeds}. ± is one standard error over seeds. † is given each text's domain.

## Every method, mean over domains

${summary(runs)}

## Domain by domain: ${METRICS[metric].title}

${domainTable(runs, metric)}

## Accuracy of the routers

${accuracies(runs)}

![Accuracy of the router before each layer](${plots}-accuracy.svg)

Texts of each domain (rows) by the domain that the vote names, all seeds:

${confusion(runs)}

## The paper's claims, by ${METRICS[metric].title}

${claims(runs, metric)}
`;
  const chart = chartSvg(accuracyChart(runs));
  return { markdown, plots: new Map(chart ? [["accuracy", chart]] : []) };
}

const domainsOf = ({ routers }: MoaRun) => routers.domains;
const methodsOf = (runs: readonly MoaRun[]) => Object.keys(runs[0]?.methods ?? {});
const nameOf = (runs: readonly MoaRun[], method: string) => `${method}${runs[0]?.told.includes(method) ? " †" : ""}`;

/** A method's mean over domains in one seed. */
function meanOf(run: MoaRun, method: string, metric: DomainMetric): number {
  const values = domainsOf(run).map((domain) => run.methods[method]?.[domain]?.[metric] ?? Number.NaN);
  const sum = values.reduce((total, value) => total + (metric === "perplexity" ? Math.log(value) : value), 0) / values.length;
  return metric === "perplexity" ? Math.exp(sum) : sum;
}

function summary(runs: readonly MoaRun[]): string {
  const rows = methodsOf(runs).map((method) => {
    const cells = inColumns.map((metric) =>
      text(
        over(runs, (run) => meanOf(run, method, metric)),
        METRICS[metric],
      ),
    );
    return [nameOf(runs, method), ...cells];
  });
  return table(["method", ...inColumns.map((metric) => METRICS[metric].title)], rows);
}

function domainTable(runs: readonly MoaRun[], metric: DomainMetric): string {
  const domains = domainsOf(runs[0]!);
  const rows = methodsOf(runs).map((method) => {
    const cells = domains.map((domain) =>
      text(
        over(runs, (run) => run.methods[method]?.[domain]?.[metric] ?? Number.NaN),
        METRICS[metric],
      ),
    );
    return [nameOf(runs, method), ...cells];
  });
  return table(["method", ...domains], rows);
}

function accuracies(runs: readonly MoaRun[]): string {
  const layers = runs[0]!.routers.layers.map(({ layer }, l): [string, (run: MoaRun) => number] => [
    `router before ${layer}`,
    ({ routers }) => routers.layers[l]!.accuracy,
  ]);
  const deciders: [string, (run: MoaRun) => number][] = [
    ...layers,
    ["vote", ({ routers }) => routers.rules.vote],
    ["last", ({ routers }) => routers.rules.last],
    ["classifier", ({ classifier }) => classifier],
  ];
  const rows = deciders.map(([name, of]) => [name, text(over(runs, of))]);
  return table(["who decides", "right, %"], rows);
}

function accuracyChart(runs: readonly MoaRun[]) {
  const layers = runs[0]!.routers.layers.map((_, l) => l);
  const points = (of: (run: MoaRun, layer: number) => number) =>
    layers.map((layer) => {
      const { value, error } = over(runs, (run) => of(run, layer));
      return { x: layer, y: value, ...(Number.isFinite(error) && { error }) };
    });
  const series = [
    { name: "router before the layer", points: points(({ routers }, layer) => routers.layers[layer]!.accuracy) },
    { name: "vote of all", points: points(({ routers }) => routers.rules.vote) },
    { name: "classifier", points: points(({ classifier }) => classifier) },
  ];
  return { title: "Texts whose domain is named rightly", x: "layer", y: "share of texts", percent: true, series };
}

function confusion(runs: readonly MoaRun[]): string {
  const domains = domainsOf(runs[0]!);
  const rows = domains.map((own, i) => {
    const counts = domains.map((_, j) => runs.reduce((sum, { routers }) => sum + routers.confusion[i]![j]!, 0));
    return [own, ...counts.map(String)];
  });
  return table(["own \\ named", ...domains], rows);
}

const VOTE = "MoA, vote";
/** The paper's claims about MoA: one method above another. The last two are its ablations. */
const CLAIMS: readonly (readonly [claim: string, above: string, below: string])[] = [
  ["MoA above one LoRA on mixed data", VOTE, "one LoRA, mixed data"],
  ["MoA above MoE-LoRA learned end to end", VOTE, "MoE-LoRA"],
  ["MoA above a classifier that dispatches", VOTE, "classifier + LoRAs"],
  ["MoA, told the domain, above the domain's LoRA trained alone", "MoA, told", "LoRA of the domain"],
  ["the vote above the last router", VOTE, "MoA, last"],
  ["domain labels help: above MoA without labels", VOTE, "MoA without labels, per-layer"],
  ["first stage helps: above MoA from scratch", VOTE, "MoA from scratch, vote"],
];

function claims(runs: readonly MoaRun[], metric: DomainMetric): string {
  const known = new Set(methodsOf(runs));
  const wide = [...known].find((method) => method.startsWith("one LoRA, rank"));
  const all = wide ? [...CLAIMS, [`MoA above one LoRA on mixed data with as many weights`, VOTE, wide] as const] : CLAIMS;
  const lines = all.flatMap(([claim, above, below]) => {
    if (!known.has(above) || !known.has(below)) return [];
    const difference = over(runs, (run) => gain(run, above, below, metric));
    return [`| ${claim} | ${verdict(difference, runs.length)} | ${differenceText(difference, metric)} |`];
  });
  return ["| claim | here | difference |", "| --- | --- | ---: |", ...lines].join("\n");
}

/** The advantage of `above`; for perplexities, in nats per token. */
function gain(run: MoaRun, above: string, below: string, metric: DomainMetric): number {
  const [a, b] = [meanOf(run, above, metric), meanOf(run, below, metric)];
  return metric === "perplexity" ? Math.log(b) - Math.log(a) : a - b;
}

function differenceText(difference: Mean, metric: DomainMetric): string {
  return metric === "perplexity" ? `${text(difference, { factor: 1, digits: 3 })} nats a token` : text(difference, METRICS[metric]);
}
