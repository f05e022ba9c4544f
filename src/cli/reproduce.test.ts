/** @file The guide to the paper's table, command by command, on a small T5 and a checkpoint in the authors' form. */

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { skein } from "./captured-io.test-helper.ts";

let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-reproduce-"));
  await cp(golden("t5/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), ["red", "green", "yes", "no"], { appendEnd: true });
  await cp(golden("torch_files/phatgoose.pt"), at("best.pt"));
  // One task for each benchmark, in the form of recipes/benchmarks: a configuration of a dataset in the data folder.
  const rows = ["red", "green"].map((inputs) => ({
    inputs,
    targets: ["yes"],
    multiple_choice_targets: ["no", "yes"],
    multiple_choice_scores: [0, 1],
  }));
  for (const name of ["bbh", "bbl", "t0ho"]) {
    const place = at(`data/tasks/bench/${name}`);
    await mkdir(place, { recursive: true });
    await writeFile(join(place, "validation.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const task = `dataset: tasks/bench\n    config: ${name}\n    splits: [validation]\n    reader: { kind: bigbench }\n    task: multiple_choice\n    metrics: [accuracy]`;
    await writeFile(at(`${name}.yaml`), `name: ${name}\ndescription: one task\ntasks:\n  - name: ${name}-task\n    ${task}\n`);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("the commands of the guide lead from best.pt to the table", async () => {
  const guide = await readFile(new URL("../../docs/guide/reproduce.md", import.meta.url), "utf8");
  const commands = [...guide.matchAll(/^skein (.+)$/gm)].map(([, words]) => words!.split(" "));
  expect(commands.map(([name]) => name)).toEqual(["convert", "pool", "eval"]);
  for (const words of commands) {
    const known = words.map((word) => {
      if (word === "google/t5-xl-lm-adapt") return at("base");
      return /\.(?:pt|yaml|html)$|^(?:flan-pool|data|results)$/.test(word) ? at(word) : word;
    });
    const { code, err } = await skein(...known);
    expect(code, `skein ${words.join(" ")}\n${err}`).toBe(0);
  }
  const results = JSON.parse(await readFile(at("results/results.json"), "utf8"));
  expect(results.tasks.map(({ name }: { name: string }) => name)).toEqual(["bbh-task", "bbl-task", "t0ho-task"]);
  expect(results.methods.map(({ name }: { name: string }) => name)).toEqual(["base", expect.stringContaining("merged"), "phatgoose"]);
  expect(await readFile(at("report.html"), "utf8")).toContain("bbl");
});
