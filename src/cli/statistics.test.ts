/** @file From experts to every router of the registry, by command lines alone, on a tiny T5 and a tiny Llama. */

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { int64 } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { skein } from "./captured-io.test-helper.ts";

const SMALL = "--batch-size 3 --micro-batch-size 3 --rank 2 --lr 0.02 --dropout 0 --max-length 16 --steps 12".split(" ");
describe.each([
  ["t5", 36],
  ["llama", 14],
] as const)("on a tiny %s", (base, modules) => {
  let folder: string;
  const at = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `skein-statistics-${base}-`));
    await cp(golden(`${base}/model`), at("base"), { recursive: true });
    await writeWordTokenizer(at("base"), ["red", "green", "blue", "one", "two", "three"], { appendEnd: true });
    const rows = (inputs: readonly string[], target: string) => inputs.map((input) => JSON.stringify({ input, target })).join("\n");
    await writeFile(at("colours.jsonl"), rows(["red", "green blue", "blue"], "one"));
    await writeFile(at("numbers.jsonl"), rows(["one", "two three", "three"], "red"));
    for (const expert of ["colours", "numbers"]) {
      const data = ["--base", at("base"), "--data", at(`${expert}.jsonl`)];
      expect((await skein("train", ...data, "--out", at(expert), "--validate-every", "0", ...SMALL)).code).toBe(0);
      expect((await skein("gate", at(expert), ...data, "--steps", "2", "--batch-size", "3", "--max-length", "16")).code).toBe(0);
    }
    await skein("pool", "create", at("pool"), "--base", at("base"), at("colours"), at("numbers"));
    await writeSafetensors(at("in.safetensors"), {
      input_ids: int64([2, 2], [await idOf("red"), 1, await idOf("two"), 1]),
      decoder_input_ids: int64([2, 1], [0, 0]),
    });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function idOf(word: string): Promise<number> {
    return JSON.parse(await readFile(at("base/tokenizer.json"), "utf8")).model.vocab[word];
  }

  function forward(router: string) {
    return skein(
      "forward",
      "--base",
      at("base"),
      "--pool",
      at("pool"),
      "--router",
      router,
      "--inputs",
      at("in.safetensors"),
      "--out",
      at("out.safetensors"),
      "--routes",
    );
  }

  test("routers that need statistics say how to gather them", async () => {
    expect((await forward("average-activation")).err).toContain("skein statistics");
    expect((await forward("retrieval")).err).toContain("skein statistics");
  });

  test("statistics are gathered beside the experts, and every router runs", async () => {
    for (const expert of ["colours", "numbers"]) {
      const done = await skein("statistics", at(`pool/experts/${expert}`), "--base", at("base"), "--data", at(`${expert}.jsonl`), "--json");
      expect(JSON.parse(done.out)).toMatchObject({ modules, examples: 3, embedder: "base-mean-pooled", dimension: 64 });
    }
    const routers = [
      "phatgoose",
      "average-activation",
      "arrow",
      "arrow-peft:topK=1",
      "spectr",
      "uniform",
      "single:expert=numbers",
      "smear",
    ];
    for (const router of [...routers, "merged", "merged:method=ties,density=0.5", "retrieval"]) {
      expect(await forward(router), router).toMatchObject({ code: 0 });
    }
    // Each prompt is one of an expert's own examples, so retrieval gives it that expert, in every module.
    await forward("retrieval");
    const results = await readSafetensors(at("out.safetensors"));
    const choices = [...results]
      .filter(([name]) => name.endsWith(".experts"))
      .map(([, { data }]) => [Number(data[0]), Number(data[data.length - 1])]);
    expect(choices).toHaveLength(modules);
    expect(new Set(choices.map(String))).toEqual(new Set(["0,1"]));
  });

  test("the last position of the expert's own answer can be what counts", async () => {
    const args = ["--base", at("base"), "--data", at("colours.jsonl"), "--positions", "generated"];
    expect(await skein("statistics", at("colours"), ...args)).toMatchObject({ code: 0 });
  });

  test("generate lets each prompt name its experts", async () => {
    const options = ["--base", at("base"), "--pool", at("pool"), "--max-new-tokens", "2", "--json", "--routes"];
    const { code, out } = await skein("generate", "red", "two three", "blue", ...options, "--experts", "numbers,colours,*");
    expect(code).toBe(0);
    const { completions } = JSON.parse(out) as { completions: { routes: Record<string, { experts: number[][]; weights: number[][] }> }[] };
    const serving = completions.map(({ routes }) =>
      Object.values(routes).flatMap(({ experts, weights }) => experts.flatMap((row, i) => row.filter((_, j) => weights[i]![j]! > 0))),
    );
    expect(serving.map((experts) => [...new Set(experts)].sort())).toEqual([[1], [0], [0, 1]]);
    expect((await skein("generate", "red", ...options, "--experts", "numbers,*")).err).toContain("2 choices of experts for 1 prompt.");
    expect((await skein("generate", "red", ...options, "--experts", "law")).err).toContain("The pool has no expert");
  });

  test("statistics of another adapter are not used, and told", async () => {
    await cp(at("pool/experts/numbers/average_activation.safetensors"), at("pool/experts/colours/average_activation.safetensors"));
    const { err } = await forward("average-activation");
    expect(err).toContain('Expert "colours" has nothing that router average-activation could score it by');
    expect((await forward("phatgoose")).err).toContain("gathered with another adapter");
  });

  test("(IA)3 and bottleneck experts are trained, gated, pooled and routed", async () => {
    const data = ["--base", at("base"), "--data", at("colours.jsonl")];
    const gate = ["--steps", "2", "--batch-size", "3", "--max-length", "16"];
    for (const kind of ["ia3", "bottleneck"]) {
      for (const copy of ["a", "b"]) {
        const out = at(`${kind}-${copy}`);
        expect(await skein("train", ...data, "--out", out, "--kind", kind, "--validate-every", "0", ...SMALL), kind).toMatchObject({
          code: 0,
        });
        expect(await skein("gate", out, ...data, ...gate), kind).toMatchObject({ code: 0 });
      }
      expect((await skein("check", at(`${kind}-a`), "--base", at("base"))).code).toBe(0);
      await skein("pool", "create", at(`${kind}-pool`), "--base", at("base"), at(`${kind}-a`), at(`${kind}-b`));
      const files = ["--inputs", at("in.safetensors"), "--out", at("out.safetensors")];
      expect(await skein("forward", "--base", at("base"), "--pool", at(`${kind}-pool`), ...files)).toMatchObject({ code: 0, err: "" });
    }
    const { err } = await skein("pool", "create", at("mixed"), "--base", at("base"), at("ia3-a"), at("numbers"));
    expect(err).toContain('Expert "ia3-a" is of kind ia3, expert "numbers" of kind lora');
  });

  test("lorahub writes an adapter with the weights it tells", async () => {
    const args = [
      "--base",
      at("base"),
      "--pool",
      at("pool"),
      "--data",
      at("colours.jsonl"),
      "--out",
      at("hub"),
      "--evaluations",
      "8",
      "--json",
    ];
    const { code, out } = await skein("lorahub", ...args);
    expect(code).toBe(0);
    expect(Object.keys(JSON.parse(out).weights)).toEqual(["colours", "numbers"]);
    expect((await skein("check", at("hub"), "--base", at("base"))).code).toBe(0);
  });
});
