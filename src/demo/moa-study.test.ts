/** @file The whole comparison, on a tiny Llama and two domains that it learns in a few steps. */

import { cp } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { temporaryFolder } from "../../tests/temporary-folder.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { domainsMarkdown, domainsPage } from "../evaluation/report/domains-page.ts";
import { loadModel } from "../library/model.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import { domainExamples, MOA_DOMAINS } from "./moa-domains.ts";
import { moaStudy } from "./moa-study.ts";
import { SKILLS } from "./skills.ts";

const { folder } = temporaryFolder();
const cycle = (words: readonly string[]) => words.map((input, i) => ({ input, target: words[(i + 1) % words.length]! }));
const DOMAINS = { colours: cycle(["red", "green", "blue"]), numbers: cycle(["one", "two", "three"]) };

test("every method is trained on one budget and scored in every domain", async () => {
  await cp(golden("llama/model"), join(folder, "base"), { recursive: true });
  await writeWordTokenizer(
    join(folder, "base"),
    [...DOMAINS.colours, ...DOMAINS.numbers].map(({ input }) => input),
  );
  await using model = await loadModel(join(folder, "base"));
  const sizes = { rank: 4, alpha: 8, lr: 0.02, batchSize: 6, microBatchSize: 6, maxLength: 16, maxTokens: 2, seed: 1 };
  const study = await moaStudy({
    model,
    tokenizer: await loadTokenizer(join(folder, "base")),
    title: "Two domains",
    domains: Object.entries(DOMAINS).map(([name, examples]) => ({ name, training: examples, test: examples })),
    options: { ...sizes, expertSteps: 15, steps: 20, ablations: true },
    runs: join(folder, "runs"),
  });
  expect([...study.methods.keys()]).toHaveLength(14);
  for (const [method, scores] of study.methods) {
    for (const { perplexity, exactMatch } of scores.values()) {
      if (method === "base") expect(perplexity).toBeGreaterThan(40);
      else if (method.includes("frozen") || method.includes("without labels")) expect(perplexity).toBeLessThan(20);
      else expect([exactMatch, perplexity < 2], method).toEqual([1, true]);
    }
  }
  expect(study.routers.rules.vote).toBe(1);
  expect(study.routers.confusion).toEqual([
    [3, 0],
    [0, 3],
  ]);
  expect(study.classifier).toBe(1);
  expect(domainsMarkdown(study)).toContain("| MoA, vote |");
  expect(domainsPage(study)).toContain("router before model.layers.1");
  expect(domainsPage(study)).toContain("† is given each text");
});

test("the demo's domains give one instruction different meanings, and keep their lists apart from training", () => {
  const meanings = MOA_DOMAINS.map((domain) => {
    const texts = domainExamples(domain, "train", 300, 1).filter(({ input }) =>
      / (flavour|taste|savour|aroma|spice) .*1\. \S+$/.test(input),
    );
    const { input, target } = texts[0]!;
    return SKILLS.filter(({ answers }) => answers.get(input.split(" ").at(-1)!) === target.slice(3)).map(({ name }) => name);
  });
  expect(meanings.reduce((common, names) => common.filter((name) => names.includes(name)))).toEqual([]);
  const trained = new Set(MOA_DOMAINS.flatMap((domain) => domainExamples(domain, "train", 300, 1)).map(({ input }) => input));
  for (const domain of MOA_DOMAINS) {
    const tested = domainExamples(domain, "test", 100, 1);
    expect(tested.filter(({ input }) => trained.has(input))).toEqual([]);
    expect(domainExamples(domain, "test", 100, 1)).toEqual(tested);
  }
});
