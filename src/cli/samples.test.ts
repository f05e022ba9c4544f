/** @file Gates, statistics and routers from texts that experts write themselves, by command lines alone, on a tiny Llama. */

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { loadModel } from "../library/model.ts";
import { loadExpert } from "../storage/expert.ts";
import { expertSamples } from "../training/samples.ts";
import { skein } from "./captured-io.test-helper.ts";

const WORDS = ["red", "green", "blue", "one", "two", "three", ...Array.from({ length: 80 }, (_, i) => `word${i}`)];
const DATA = { colours: ["red", "green", "blue"], numbers: ["one", "two", "three"] };
const SMALL = "--batch-size 3 --micro-batch-size 3 --lr 0.02 --dropout 0 --max-length 16".split(" ");
const GATE = [...SMALL, "--steps", "2"];

let folder: string;
const at = (name: string) => join(folder, name);
const base = () => ["--base", at("base")];
const bytes = (name: string) => readFile(at(name), "utf8");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-samples-"));
  await cp(golden("llama/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), WORDS);
  for (const [name, words] of Object.entries(DATA)) {
    await writeFile(at(`${name}.jsonl`), words.map((input, i) => JSON.stringify({ input, target: words[(i + 1) % 3] })).join("\n"));
    const data = ["--data", at(`${name}.jsonl`), "--out", at(name), "--rank", "4", "--alpha", "8"];
    expect((await skein("train", ...base(), ...data, ...SMALL, "--steps", "12", "--validate-every", "0")).code).toBe(0);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const samples = ["--from-samples", "8", "--sample-length", "4", "--sample-temperature", "2"];

describe("gates from samples", () => {
  test("are trained on texts that are kept, and the card says so", async () => {
    expect(await skein("gate", at("colours"), ...base(), ...samples, ...GATE)).toMatchObject({
      code: 0,
      out: `Wrote gates to ${at("colours")}.\n`,
    });
    expect((await bytes("colours.gate-run/samples/samples.jsonl")).trim().split("\n").length).toBeGreaterThanOrEqual(8);
    expect(await bytes("colours/README.md")).toContain(
      "- Gates from: 8 texts that the expert wrote itself (prompts: openings of the base)",
    );
    const first = await readFile(at("colours/gate_model.safetensors"));
    await rm(at("colours.gate-run"), { recursive: true });
    await skein("gate", at("colours"), ...base(), ...samples, ...GATE);
    expect(await readFile(at("colours/gate_model.safetensors"))).toEqual(first);
  });

  test("continue the prompts of a file, else the examples of the card", async () => {
    await writeFile(
      at("prompts.txt"),
      WORDS.slice(0, 6)
        .map((word) => `${word} ${word}\n`)
        .join(""),
    );
    expect((await skein("gate", at("numbers"), ...base(), ...samples, "--prompts", at("prompts.txt"), ...GATE)).code).toBe(0);
    const written = (await bytes("numbers.gate-run/samples/samples.jsonl")).trim().split("\n");
    expect(new Set(written.map((line) => JSON.parse(line).input))).toEqual(new Set(WORDS.slice(0, 6).map((word) => `${word} ${word}`)));
    await cp(at("numbers"), at("carded"), { recursive: true });
    await writeFile(at("carded/README.md"), "---\nwidget:\n- text: one two\n- text: three\n---\n# Numbers\n");
    expect((await skein("gate", at("carded"), ...base(), ...samples, ...GATE)).code).toBe(0);
    const carded = (await bytes("carded.gate-run/samples/samples.jsonl")).trim().split("\n");
    expect(new Set(carded.map((line) => JSON.parse(line).input))).toEqual(new Set(["one two", "three"]));
    expect(await bytes("carded/README.md")).toBe("---\nwidget:\n- text: one two\n- text: three\n---\n# Numbers\n"); // a person's card
  });

  test.each<[string, string, string]>([
    ["a file without prompts", "\n", "has no prompts"],
    ["a blank line", "red\n\nblue\n", "line 2"],
    ["a line of another language", "red\nиней\n", "line 2"],
  ])("%s is refused", async (_, content, message) => {
    await writeFile(at("bad.txt"), content);
    const refused = await skein("gate", at("colours"), ...base(), ...samples, "--prompts", at("bad.txt"), ...GATE);
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining(message) });
  });

  test("data and samples exclude each other, and one of them is needed", async () => {
    const both = await skein("gate", at("colours"), ...base(), ...samples, "--data", at("colours.jsonl"), ...GATE);
    expect(both).toMatchObject({ code: 1, err: expect.stringContaining("or the expert writes them") });
    const neither = await skein("gate", at("colours"), ...base(), ...GATE);
    expect(neither).toMatchObject({ code: 1, err: expect.stringContaining("--from-samples") });
  });

  test("an expert that repeats itself is refused", async () => {
    const calm = ["--from-samples", "8", "--sample-temperature", "0.0001", "--run", at("calm")];
    await writeFile(at("one.txt"), "red\n");
    const refused = await skein("gate", at("colours"), ...base(), ...calm, "--prompts", at("one.txt"), ...GATE);
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("The expert repeats itself") });
    expect(refused.err).toContain("--sample-temperature");
  });
});

test("a stopped run goes on with the samples of an uninterrupted one", async () => {
  await using model = await loadModel(at("base"));
  const tokenizer = await model.tokenizer();
  const { adapter } = await loadExpert(at("numbers"), model.base.modules);
  const job = { model, tokenizer, adapter, count: 40, options: { sampleLength: 6, sampleBatch: 8, sampleTemperature: 2 } };
  const whole = await expertSamples({ ...job, run: at("whole") });
  const stop = new AbortController();
  const stopped = expertSamples({ ...job, run: at("parts"), signal: stop.signal, onProgress: (kept) => kept >= 16 && stop.abort() });
  await expect(stopped).rejects.toMatchObject({ code: "stopped" });
  expect(await expertSamples({ ...job, run: at("parts") })).toEqual(whole);
  await expect(expertSamples({ ...job, run: at("parts"), options: { ...job.options, sampleLength: 5 } })).rejects.toMatchObject({
    code: "run-differs",
  });
});

test("statistics come from samples", async () => {
  const done = await skein("statistics", at("numbers"), ...base(), ...samples, "--json");
  expect(JSON.parse(done.out)).toMatchObject({ examples: 8 });
  expect(await bytes("numbers/README.md")).toContain(
    "- Statistics from: 8 texts that the expert wrote itself (prompts: openings of the expert)",
  );
});

test("Mixture-of-LoRAs routers learn domains, and replay them, from samples", async () => {
  const loras = ["--loras", `colours=${at("colours")}`, `numbers=${at("numbers")}`];
  const counts = ["--sample-length", "4", "--sample-temperature", "2", "--domains-from-samples", "8"];
  const trained = await skein("moa", "train", ...base(), ...loras, ...counts, ...GATE, "--out", at("moa"));
  expect(trained).toMatchObject({ code: 0, out: `Wrote ${at("moa")}: colours, numbers.\n` });
  const more = [
    "--data",
    at("colours.jsonl"),
    "--expert-steps",
    "2",
    "--sample-length",
    "4",
    "--sample-temperature",
    "2",
    "--replay-from-samples",
    "8",
  ];
  const added = await skein("moa", "add-domain", at("moa"), "more", ...base(), ...more, ...GATE, "--rank", "4");
  expect(added).toMatchObject({ code: 0, err: expect.not.stringContaining("There are no examples") });
  expect((await bytes("moa.more.run/numbers-samples/samples.jsonl")).split("\n").length).toBeGreaterThan(8);
});
