/** @file The study on public data: its data, its measures, its recipe, and a shortened run on a tiny Llama. */

import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { readPoolRecipe } from "../fleet/recipe-file.ts";
import { loadModel } from "../library/model.ts";
import { contentSplit } from "./content-split.ts";
import { developmentPage, gateDevelopment } from "./gate-development.ts";
import { publicRows, shortened, writePublicData } from "./public-data.ts";
import { bootstrapInterval, measured } from "./public-measures.ts";
import { publicReport } from "./public-report.ts";
import { PUBLIC_EXPERTS, PUBLIC_HELD_OUT } from "./public-sets.ts";
import { type PublicSeed, publicSeed } from "./public-study.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-public-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the split by content", () => {
  const passage = (i: number) => `The ${i}th river of the valley flows from the mountains to the sea in autumn.`;
  test("puts all rows of one passage into one part", () => {
    const texts = Array.from({ length: 90 }, (_, i) => `${passage(Math.floor(i / 3))}\nWhat does river ${i} do?`);
    const parts = contentSplit(texts);
    for (let i = 0; i < 90; i += 3) expect(new Set(parts.slice(i, i + 3)).size).toBe(1);
    expect(new Set(parts)).toEqual(new Set(["train", "validation", "test"]));
  });

  test("is not held together by the line of a template", () => {
    const texts = Array.from(
      { length: 90 },
      (_, i) => `Which of the following answers is the right one for the question below?\nRiver ${i}?`,
    );
    expect(new Set(contentSplit(texts)).size).toBe(3);
  });
});

test("a long input keeps its beginning and end", () => {
  expect(shortened(`${"a".repeat(400)}?`, 20)).toBe(`${"a".repeat(10)} ... ${"a".repeat(9)}?`);
  expect(shortened("short", 20)).toBe("short");
});

test("at least 24 sets have experts, at least nine are held out, and the farm's recipe has the same experts", async () => {
  expect(PUBLIC_EXPERTS.length).toBeGreaterThanOrEqual(24);
  expect(PUBLIC_HELD_OUT.length).toBeGreaterThanOrEqual(9);
  const files = [...PUBLIC_EXPERTS, ...PUBLIC_HELD_OUT].map(({ file }) => file);
  expect(new Set(files).size).toBe(files.length);
  const recipe = await readPoolRecipe(fileURLToPath(new URL("../../recipes/pools/public.yaml", import.meta.url)));
  expect(recipe.experts.map(({ name }) => name)).toEqual(PUBLIC_EXPERTS.map(({ name }) => name));
  for (const [i, { source }] of recipe.experts.entries()) {
    const { templates, dataset = "" } = source;
    const name = templates ? `P3/${templates.path?.replaceAll("/", "_")}_${templates.only?.[0]}` : dataset.split("/").at(-1);
    expect(name).toBe(PUBLIC_EXPERTS[i]!.folder);
  }
});

test("the loss is per answer token, and accuracy only where all rows have choices", () => {
  const of = (sum: number, tokens: number) => ({ sum, tokens, isGreedy: false });
  const score = { value: 0.5, stderr: 0, n: 2 };
  const choices = { choices: [of(-1, 1), of(-6, 2)], values: {} };
  expect(
    measured({
      outcomes: [
        { ...choices, label: 1 },
        { ...choices, label: 0 },
      ],
      score,
    }),
  ).toEqual({ loss: 2.3333, tokens: 3, accuracy: 0.5 });
  expect(measured({ outcomes: [{ target: of(-8, 4), values: {} }], score })).toEqual({ loss: 2, tokens: 4 });
});

test("an interval holds the mean, and is a point where all values agree", () => {
  expect(
    bootstrapInterval([
      [2, 2],
      [2, 2],
    ]),
  ).toEqual({ mean: 2, low: 2, high: 2 });
  const { mean, low, high } = bootstrapInterval([
    [1, 2, 3],
    [2, 3, 4],
  ]);
  expect(mean).toBe(2.5);
  expect(low).toBeLessThan(2.5);
  expect(high).toBeGreaterThan(2.5);
});

describe("a shortened run", () => {
  const WORDS = ["red", "green", "blue", "one", "two", "three"];
  let found: PublicSeed;

  beforeAll(async () => {
    await cp(golden("llama/model"), at("base"), { recursive: true });
    await writeWordTokenizer(at("base"), WORDS);
    const row = (i: number) => ({ inputs_pretokenized: WORDS[i % 6], targets_pretokenized: WORDS[(i + 1) % 6] });
    for (const { folder: set } of PUBLIC_EXPERTS.slice(0, 2)) {
      await mkdir(at(`data/${set}`), { recursive: true });
      for (const part of ["train", "validation", "test"])
        await write(
          `data/${set}/${part}.jsonl`,
          Array.from({ length: 8 }, (_, i) => row(i)),
        );
    }
    await mkdir(at("data/held-out"), { recursive: true });
    const asked = WORDS.concat(WORDS).map((input, i) => ({ input, target: WORDS[i % 2], choices: WORDS.slice(0, 2) }));
    await write(`data/held-out/${PUBLIC_HELD_OUT[0]!.name}.jsonl`, asked);
    await using model = await loadModel(at("base"));
    found = await publicSeed({
      ...{ model, tokenizer: await model.tokenizer(), baseName: "tiny", data: at("data"), out: at("study"), seed: 1 },
      training: {
        ...{ expert: { steps: 1, batchSize: 2, rank: 2, alpha: 2 }, gates: { batchSize: 2 } },
        ...{ gateSteps: [1, 2], routerSteps: 2, numExperts: 2 },
      },
      sizes: { heldIn: 2, heldOut: 2, joined: 2, numJoined: 1, numSets: 2, numHeldOut: 1 },
      poolSizes: [1],
    });
  });

  test("measures every method on every task", () => {
    const names =
      "base merged uniform retrieval smear average-activation arrow spectr arrow-peft lorahub phatgoose multitask moa oracle".split(" ");
    expect(Object.keys(found.main)).toEqual(expect.arrayContaining([...names, "merged ties", "multitask, 4 x rank", "best individual"]));
    expect(found.tasks.map(({ group }) => group)).toEqual(["held in", "held in", "held out", "joined"]);
    for (const own of Object.values(found.main)) {
      for (const { name } of found.tasks) expect(own[name]!.loss).toBeGreaterThan(0);
      expect(own[PUBLIC_HELD_OUT[0]!.name]!.accuracy).toBeGreaterThanOrEqual(0);
    }
    expect(Object.keys(found.k)).toEqual(["1", "2", "3"]);
    expect(Object.keys(found.gates)).toEqual(["1", "2"]);
    for (const share of Object.values(found.use)) expect(share.reduce((sum, one) => sum + one, 0)).toBeCloseTo(1, 2);
  });

  test("is reported with its plots; what was not measured is said to be so", () => {
    const results = { base: "tiny", commit: "abc", command: "node study", runs: [found] };
    const { markdown, plots } = publicReport(results, "public-tiny");
    expect([...plots.keys()]).toEqual(["pool", "gates", "use"]);
    for (const svg of plots.values()) expect(svg).toMatch(/^<svg[\s\S]*<\/svg>\n$/);
    expect(markdown).toContain("| PHATGOOSE: gates of 300 steps better than 100 | not measured | |");
    expect(markdown).toMatch(/\| phatgoose \| \d/);
    expect(markdown).not.toContain("NaN");
  });

  test("its gates are compared on the validation rows, with each set's own expert and without it", async () => {
    await using model = await loadModel(at("base"));
    const job = { model, tokenizer: await model.tokenizer(), baseName: "tiny", data: at("data"), out: at("study"), seed: 1 };
    const training = {
      ...{ expert: { steps: 1, batchSize: 2, rank: 2, alpha: 2 }, gates: { batchSize: 2 } },
      ...{ gateSteps: [1, 2], routerSteps: 0, numExperts: 2 },
    };
    const compared = await gateDevelopment({ ...job, training, rows: 3, rates: [0.05] });
    expect(Object.keys(compared.variants)).toEqual(
      expect.arrayContaining(["base", "gates of 1 step", "gates at a rate of 0.05", "spectr", "one decision for all modules"]),
    );
    for (const { ownIn, ownOut } of Object.values(compared.variants)) expect([ownIn > 0, ownOut > 0]).toEqual([true, true]);
    const { base, uniform, phatgoose, arrow } = compared.variants;
    expect(base!.ownIn).toBeCloseTo(base!.ownOut, 6); // the base has no experts
    expect(uniform!.ownIn).not.toBe(uniform!.ownOut);
    for (const { agreement = -1, oneExpert = -1 } of [phatgoose!, arrow!]) {
      expect(agreement).toBeGreaterThanOrEqual(0);
      expect(agreement).toBeLessThanOrEqual(1);
      expect(oneExpert).toBeGreaterThan(0);
    }
    expect(Object.keys(compared.modules.phatgoose!)).toContain("self_attn.q_proj");
    const page = developmentPage([compared], { name: "tiny", command: "node x", commit: "abc" });
    expect(page).toMatch(/\| phatgoose \| \d/);
    expect(page).toMatch(/\| self_attn.q_proj \| \d/);
    expect(page).not.toContain("NaN");
  });
});

test("sets are read, cut and split from their files", async () => {
  const [agNews] = PUBLIC_EXPERTS;
  await mkdir(at("public/t0-train-per-template"), { recursive: true });
  const rows = Array.from({ length: 60 }, (_, i) => ({
    prompt: `News ${i}. Which label?\n`,
    completion: `${i % 2 ? "Sports" : "World"}<|endoftext|>`,
  }));
  await write(`public/${agNews!.file}`, rows);
  const parts = await publicRows(at("public"), agNews!);
  expect([...parts.values()].flat()).toHaveLength(60);
  expect(parts.get("train")?.[0]).toMatchObject({
    choices: ["Sports", "World"],
    input: expect.stringMatching(/^News \d+\. Which label\?$/),
  });
  await expect(writePublicData(at("public"), at("small"))).rejects.toMatchObject({ code: "data-unreadable" }); // the other sets are not there
});

async function write(name: string, rows: readonly object[]): Promise<void> {
  await writeFile(at(name), rows.map((row) => JSON.stringify(row)).join("\n"));
}
