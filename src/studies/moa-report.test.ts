/** @file The report of a Mixture-of-LoRAs comparison: means over seeds and domains, and verdicts on claims by the chosen metric. */

import { expect, test } from "vitest";
import { type MoaRun, moaReport, moaRun } from "./moa-report.ts";

const scores = (perplexity: number, exactMatch: number) => ({ perplexity, exactMatch, rougeL: exactMatch, bleu: 100 * exactMatch });

/** Two domains: MoA at 0.9 and 0.7 exact match, one LoRA a tenth below it, and perplexities the other way round. */
function run(seed: number, shift: number): MoaRun {
  const methods = new Map([
    ["one LoRA, mixed data", new Map(Object.entries({ law: scores(2, 0.8 + shift), code: scores(8, 0.6) }))],
    ["MoA, vote", new Map(Object.entries({ law: scores(4, 0.9 + shift), code: scores(16, 0.7) }))],
    ["MoA, told", new Map(Object.entries({ law: scores(4, 1), code: scores(16, 1) }))],
  ]);
  const layers = [0.5, 0.75].map((accuracy, l) => ({ layer: `layers.${l}`, accuracy }));
  const confusion = [
    [3, 1],
    [0, 4],
  ];
  const routers = { domains: ["law", "code"], layers, rules: { vote: 0.875, last: 0.75, "per-layer": 0.625 }, confusion };
  return moaRun(seed, { title: "", methods, told: new Set(["MoA, told"]), routers, classifier: 0.6 });
}
const runs = [run(1, 0), run(2, 0.02), run(3, 0.04)];
const about = { title: "Domains", about: "Made up.", plots: "made-up" };

test("rows hold means over domains, geometric for perplexities, with standard errors over seeds", () => {
  const { markdown } = moaReport(runs, { ...about, metric: "exactMatch" });
  expect(markdown).toContain("| MoA, vote | 8.000 ± 0.000 | 81.0 ± 0.6 | 81.0 ± 0.6 | 81.0 ± 0.6 |");
  expect(markdown).toContain("| MoA, told † | 8.000 ± 0.000 | 100.0 ± 0.0 |");
  expect(markdown).toContain("| one LoRA, mixed data | 82.0 ± 1.2 | 60.0 ± 0.0 |");
});

test("who tells the domains: layers, rules, the classifier, and the confusion of all seeds", () => {
  const { markdown, plots } = moaReport(runs, { ...about, metric: "exactMatch" });
  expect(markdown).toContain("| router before layers.1 | 75.0 ± 0.0 |");
  expect(markdown).toContain("| vote | 87.5 ± 0.0 |");
  expect(markdown).toContain("| law | 9 | 3 |");
  expect(plots.get("accuracy")).toContain("<svg");
});

test("a claim is judged by the metric that decides: one way by exact match, the other by perplexity", () => {
  const line = (metric: "exactMatch" | "perplexity") =>
    moaReport(runs, { ...about, metric })
      .markdown.split("\n")
      .find((text) => text.startsWith("| MoA above one LoRA on mixed data |"));
  expect(line("exactMatch")).toBe("| MoA above one LoRA on mixed data | holds | 10.0 ± 0.0 |");
  expect(line("perplexity")).toBe("| MoA above one LoRA on mixed data | does not hold: the reverse | -0.693 ± 0.000 nats a token |");
});

test("what was not run is no claim", () => {
  expect(moaReport(runs, { ...about, metric: "exactMatch" }).markdown).not.toContain("from scratch");
});
