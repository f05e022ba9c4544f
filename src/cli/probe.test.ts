/** @file `skein probe` and `skein pool map` on a tiny Llama with three experts, two of which are twins. */

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import type { PoolMap } from "../evaluation/comparison/pool-map.ts";
import type { Probe } from "../library/probe.ts";
import { skein } from "./captured-io.test-helper.ts";

const DATA = { colours: ["red", "green", "blue"], numbers: ["one", "two", "three"] };
const SMALL = "--batch-size 3 --micro-batch-size 3 --lr 0.02 --dropout 0 --max-length 16".split(" ");

let folder: string;
const at = (name: string) => join(folder, name);
const base = () => ["--base", at("base")];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-probe-"));
  await cp(golden("llama/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), Object.values(DATA).flat());
  for (const [name, words] of Object.entries(DATA)) {
    await writeFile(
      at(`${name}.jsonl`),
      words.map((word, i) => JSON.stringify({ text: `${word} ${words[(i + 1) % 3]} ${words[(i + 2) % 3]}` })).join("\n"),
    );
    const data = [...base(), "--data", at(`${name}.jsonl`)];
    expect((await skein("train", ...data, "--out", at(name), "--rank", "4", "--alpha", "16", ...SMALL, "--steps", "40")).code).toBe(0);
    expect((await skein("gate", at(name), ...data, ...SMALL, "--steps", "10")).code).toBe(0);
    expect((await skein("statistics", at(name), ...data)).code).toBe(0);
  }
  await cp(at("numbers"), at("figures"), { recursive: true });
  await skein("pool", "create", at("pool"), ...base(), at("colours"), at("numbers"), at("figures"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function probed(...more: string[]): Promise<Probe[]> {
  const { out, err, code } = await skein("probe", "two three", "green blue red", ...base(), "--pool", at("pool"), "--json", ...more);
  expect(err, "no error").not.toContain("fix:");
  expect(code).toBe(0);
  return JSON.parse(out).probes;
}

test("the expert that knows a text has the smallest loss and the nearest example, and shares sum to 1", async () => {
  const [numbers, colours] = (await probed()) as [Probe, Probe];
  const best = ({ experts }: Probe, of: (one: Probe["experts"][number]) => number) =>
    experts.reduce((a, b) => (of(b) > of(a) ? b : a)).name;
  expect(best(colours, ({ loss = 0 }) => -loss)).toBe("colours");
  expect(best(numbers, ({ loss = 0 }) => -loss)).toBe("numbers");
  expect(best(colours, ({ similarity = 0 }) => similarity)).toBe("colours");
  for (const { experts, layers, baseLoss = 0, router, notes } of [numbers, colours]) {
    expect(router).toBe("phatgoose");
    expect(notes).toEqual([]);
    expect(experts.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 5);
    for (const i of layers.keys()) expect(experts.reduce((sum, one) => sum + one.layers[i]!, 0)).toBeCloseTo(1, 5);
    expect(Math.min(...experts.map(({ loss = 0 }) => loss))).toBeLessThan(baseLoss);
  }
});

test("the router and an answer can be named, and the table shows ranks", async () => {
  const [one] = (await probed("--router", "arrow", "--answer", "one")) as [Probe];
  expect(one.router).toBe("arrow");
  const { out } = await skein("probe", "two three", ...base(), "--pool", at("pool"), "--shown", "1");
  expect(out).toMatch(/expert +phatgoose +by layer \(2\) +loss alone +retrieval\n/);
  expect(out).toContain("2 more experts");
});

test("without statistics or gates the other columns remain, with the reason", async () => {
  await cp(at("colours"), at("bare"), { recursive: true });
  for (const file of ["gate_config.json", "gate_model.safetensors", "retrieval_embeddings.safetensors"])
    await rm(join(at("bare"), file), { force: true });
  await skein("pool", "create", at("bare-pool"), ...base(), at("bare"), at("numbers"));
  const { out } = await skein("probe", "red", ...base(), "--pool", at("bare-pool"), "--json");
  const [{ router, experts, notes }] = JSON.parse(out).probes as [Probe];
  expect(router).toBe("arrow");
  expect(experts.every(({ similarity }) => similarity === undefined)).toBe(true);
  expect(notes).toEqual([expect.stringContaining("Retrieval is left out")]);
});

test("the map finds twins, clusters and experts that are never chosen", async () => {
  await writeFile(at("texts.txt"), "one two three\nred green\n");
  const args = ["pool", "map", at("pool"), ...base(), "--texts", at("texts.txt"), "--out", at("map.html")];
  const { out, code } = await skein(...args, "--json", "--router", "phatgoose:topK=1");
  expect(code).toBe(0);
  const map = JSON.parse(out) as PoolMap;
  expect(map.twins).toEqual([{ experts: ["numbers", "figures"], similarity: expect.closeTo(1, 5) }]);
  expect(map.clusters[0]).toMatchObject({ name: "numbers", experts: expect.arrayContaining(["numbers", "figures"]) });
  expect(map.neverChosen).toContain("figures"); // its twin comes first, and ties go to the first
  expect(map.similarities.gates?.[1]?.[2]).toBeCloseTo(1, 5);
  const page = await readFile(at("map.html"), "utf8");
  for (const text of ["<svg", "Twins: numbers and figures", "Never chosen"]) expect(page).toContain(text);
});

test("the map takes openings of the base where no texts are given", async () => {
  const { code, out } = await skein("pool", "map", at("pool"), ...base(), "--out", at("map.html"));
  expect([code, out]).toEqual([0, expect.stringContaining(`Wrote ${at("map.html")}.`)]);
});
