/** @file Mixture-of-LoRAs by command lines alone, on a tiny Llama: train, ask, add a domain, remove one. */

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { int64 } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { skein } from "./captured-io.test-helper.ts";

const WORDS = ["red", "green", "blue", "one", "two", "three", "dog", "cat", "cow"];
const DATA = { colours: ["red", "green", "blue"], numbers: ["one", "two", "three"], animals: ["dog", "cat", "cow"] };
const RECIPE = "--batch-size 6 --lr 0.02 --dropout 0 --max-length 16 --seed 7 --steps 30".split(" ");
const SMALL = [...RECIPE, ..."--rank 4 --alpha 8 --expert-steps 30".split(" ")];

const TWO = ["--domains", "colours=COLOURS", "numbers=NUMBERS"];

let folder: string;
const at = (name: string) => join(folder, name);
const base = () => ["--base", at("base")];
const ask = (prompt: string, ...more: string[]) =>
  skein("generate", prompt, ...base(), "--pool", at("moa"), "--max-new-tokens", "1", "--json", "--routes", ...more);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-moa-"));
  await cp(golden("llama/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), WORDS);
  for (const [name, words] of Object.entries(DATA)) {
    const rows = words.map((input, i) => JSON.stringify({ input, target: words[(i + 1) % 3] }));
    await writeFile(at(`${name}.jsonl`), rows.join("\n"));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The experts that any module of any token used. */
function used(out: string): string[] {
  const { experts, completions } = JSON.parse(out) as {
    experts: string[];
    completions: { routes: Record<string, { experts: number[][] }> }[];
  };
  const indices = new Set(completions.flatMap(({ routes }) => Object.values(routes).flatMap((route) => route.experts.flat())));
  return [...indices].map((index) => experts[index]!);
}

test("two domains are trained, and each text finds its own", async () => {
  const domains = ["--domains", `colours=${at("colours.jsonl")}`, `numbers=${at("numbers.jsonl")}`];
  const trained = await skein("moa", "train", ...base(), ...domains, "--out", at("moa"), ...SMALL);
  expect(trained).toMatchObject({ code: 0, out: `Wrote ${at("moa")}: colours, numbers.\n` });
  const [colour, number] = [await ask("green"), await ask("two")];
  expect(used(colour.out)).toEqual(["colours"]);
  expect(used(number.out)).toEqual(["numbers"]);
  expect(JSON.parse(number.out).completions[0].text.trim()).toBe("three");
  expect(used((await ask("two", "--domain", "colours")).out)).toEqual(["colours"]);
  expect(used((await ask("two", "--decide", "last")).out)).toEqual(["numbers"]);
});

test("prompts of different domains are answered side by side, as they are alone", async () => {
  const together = await skein("generate", "green", "two", ...base(), "--pool", at("moa"), "--max-new-tokens", "2", "--json", "--routes");
  const { completions } = JSON.parse(together.out) as { completions: { text: string; routes: Record<string, { experts: number[][] }> }[] };
  const experts = completions.map(({ routes }) => new Set(Object.values(routes).flatMap((route) => route.experts.flat())));
  expect(experts).toEqual([new Set([0]), new Set([1])]);
  expect(completions.map(({ text }) => text.trim())).toEqual(["blue", "three"]);
});

test("a batch whose rows belong to different domains goes through skein forward", async () => {
  await writeSafetensors(at("in.safetensors"), new Map([["input_ids", int64([2, 2], [4, 4, 7, 7])]]));
  const files = ["--inputs", at("in.safetensors"), "--out", at("out.safetensors"), "--routes"];
  expect((await skein("forward", ...base(), "--pool", at("moa"), "--router", "moa", ...files)).code).toBe(0);
  const experts = (await readSafetensors(at("out.safetensors"))).get("routes.model.layers.0.mlp.up_proj.experts")!;
  expect(experts.shape).toEqual([2, 2, 1]);
  expect([...experts.data].map(Number)).toEqual([0, 0, 1, 1]);
});

test("a MoA pool is evaluated and traced", async () => {
  const nowhere = await skein("eval", at("colours.jsonl"), ...base(), "--methods", "base,moa-last");
  expect(nowhere).toMatchObject({ code: 1, err: expect.stringContaining("Method moa-last needs experts") });
  const pool = [...base(), "--pool", at("moa")];
  const evaluated = await skein("eval", at("colours.jsonl"), at("numbers.jsonl"), ...pool, "--methods", "base,moa,moa-last", "--json");
  const { methods } = JSON.parse(evaluated.out) as { methods: { name: string; means: { value: number }[] }[] };
  expect(methods.map(({ name, means }) => [name, means[0]!.value])).toEqual([
    ["base", 0],
    ["moa", 1],
    ["moa-last", 1],
  ]);
  const traced = await skein("trace", "green", ...pool, "--out", at("trace.html"), "--max-new-tokens", "2");
  expect(traced.code).toBe(0);
  expect(await readFile(at("trace.html"), "utf8")).toContain("colours");
});

test("PHATGOOSE gates are trained for the same LoRAs, and both methods run on one pool", async () => {
  const domains = ["--domains", `colours=${at("colours.jsonl")}`, `numbers=${at("numbers.jsonl")}`];
  const gated = await skein("moa", "gates", at("moa"), ...base(), ...domains, ...RECIPE);
  expect(gated).toMatchObject({ code: 0, out: `Wrote gates of colours, numbers to ${at("moa")}.\n` });
  expect((await ask("two", "--router", "phatgoose", "--top-k", "1")).code).toBe(0);
  expect(used((await ask("two")).out)).toEqual(["numbers"]);
});

test("a domain is added without a bit of the others changing, and removed again", async () => {
  const lora = () => readFile(at("moa/experts/colours/adapter_model.safetensors"));
  const rows = async () => (await readSafetensors(at("moa/routers.safetensors"))).get("model.layers.0.router.weight")!;
  const [before, old] = [await lora(), await rows()];
  const replay = ["--replay", `colours=${at("colours.jsonl")}`, `numbers=${at("numbers.jsonl")}`];
  const added = await skein("moa", "add-domain", at("moa"), "animals", ...base(), "--data", at("animals.jsonl"), ...replay, ...SMALL);
  expect(added).toMatchObject({ code: 0, out: `Added animals to ${at("moa")}.\n` });
  expect(await lora()).toEqual(before);
  expect((await rows()).data.slice(0, old.data.length)).toEqual(old.data);
  expect(used((await ask("cat")).out)).toEqual(["animals"]);
  expect(used((await ask("green")).out)).toEqual(["colours"]);
  const removed = await skein("pool", "remove", at("moa"), "animals");
  expect(removed).toMatchObject({ code: 1, err: expect.stringContaining("skein moa remove-domain") });
  expect((await skein("moa", "remove-domain", at("moa"), "animals")).code).toBe(0);
  expect((await rows()).data).toEqual(old.data);
  expect(JSON.parse((await skein("pool", "list", at("moa"), "--json")).out).experts).toHaveLength(2);
});

test.each<[string, string[], string]>([
  ["an argument without a file", ["--domains", "colours"], "names no file"],
  ["one domain", ["--domains", "colours=COLOURS"], "at least two domains"],
  ["an expert of no domain", ["--domains", "colours=COLOURS", "numbers=COLOURS", "--loras", "x=y"], '"x" is not one of the domains'],
  ["a domain with an empty path", ["--domains", "colours=", "numbers=COLOURS"], '"colours=" names no file'],
  ["a domain given twice", ["--domains", "colours=COLOURS", "colours=NUMBERS"], 'The domain "colours" is given twice'],
  ["an expert given twice", [...TWO, "--loras", "colours=a", "colours=b"], 'The domain "colours" is given twice: a and b'],
  ["an unknown pooling", [...TWO, "--pooling", "max"], "Expected one of mean, last"],
  ["frozen LoRAs from scratch", [...TWO, "--from-scratch", "--freeze-loras"], "change nothing"],
  ["the base's states without labels", [...TWO, "--no-labels", "--states", "base"], "Without labels"],
])("%s is refused", async (_, options, message) => {
  const named = options.map((option) => option.replace("COLOURS", at("colours.jsonl")).replace("NUMBERS", at("numbers.jsonl")));
  const { code, err } = await skein("moa", "train", ...base(), ...named, "--out", at("refused"));
  expect(err).toContain(message);
  expect(code).toBe(1);
});

test("a pool that is there already is refused before anything is trained", async () => {
  const domains = ["--domains", `colours=${at("colours.jsonl")}`, `numbers=${at("numbers.jsonl")}`];
  const { code, err } = await skein("moa", "train", ...base(), ...domains, "--out", at("moa"));
  expect(err).toContain("There is a pool here already");
  expect(code).toBe(1);
});

/** A fresh copy of the pool that the first test made. */
async function copied(name: string): Promise<string> {
  await cp(at("moa"), at(name), { recursive: true });
  return at(name);
}
const bytes = (...names: string[]) => Promise.all(names.map((name) => readFile(at(name))));
const addAnimals = (pool: string, ...more: string[]) =>
  skein("moa", "add-domain", pool, ...base(), "--data", at("animals.jsonl"), ...SMALL, "animals", ...more);

test("an expert that has the new domain's name stays as it is", async () => {
  const pool = await copied("taken");
  await skein("pool", "add", pool, at("moa/experts/colours"), "--name", "animals");
  const files = ["taken/pool.json", "taken/experts/animals/adapter_model.safetensors"];
  const before = await bytes(...files);
  expect((await addAnimals(pool)).err).toContain('The pool already has an expert "animals"');
  await mkdir(at("taken.animals.run")); // as a run leaves it that was stopped
  expect((await addAnimals(pool)).err).toContain('The pool already has an expert "animals"');
  expect(await bytes(...files)).toEqual(before);
  expect((await skein("moa", "remove-domain", pool, "animals")).err).toContain("is an expert of the pool, but not a domain");
});

test("a domain that was being added when the run was killed is added by the same command", async () => {
  const pool = await copied("killed");
  const files = ["killed/pool.json", "killed/moa.json", "killed/routers.safetensors", "killed/experts/animals/adapter_model.safetensors"];
  const config = JSON.parse(await readFile(at("killed/moa.json"), "utf8"));
  expect((await addAnimals(pool)).code).toBe(0);
  const whole = await bytes(...files);
  expect(JSON.parse(String(whole[1])).training).toEqual({ ...config.training, added: { animals: expect.objectContaining({ steps: 30 }) } });
  const written = ["pool.json", "routers.safetensors", "moa.json"];
  for (const done of [0, 1, 2]) {
    for (const name of written.slice(done)) await cp(at(`moa/${name}`), at(`killed/${name}`));
    expect((await skein("generate", "green", ...base(), "--pool", pool, "--max-new-tokens", "1")).code).toBe(0);
    expect((await addAnimals(pool)).code).toBe(0);
    expect(await bytes(...files)).toEqual(whole);
  }
});

test("a pool that was being made when the run was killed is made by the same command", async () => {
  const domains = ["--domains", `routers=${at("colours.jsonl")}`, `numbers=${at("numbers.jsonl")}`]; // "routers" is a name like any other
  const again = () => skein("moa", "train", ...base(), ...domains, "--out", at("half"), ...SMALL, "--steps", "2");
  expect((await again()).code).toBe(0);
  const files = ["half/pool.json", "half/moa.json", "half/routers.safetensors"];
  const whole = await bytes(...files);
  for (const name of ["half/pool.json", "half/moa.json", "half/experts/numbers"]) await rm(at(name), { recursive: true });
  expect((await again()).code).toBe(0);
  expect(await bytes(...files)).toEqual(whole);
});

test("examples to replay of no domain of the model are refused before anything is trained", async () => {
  const { code, err } = await addAnimals(at("moa"), "--replay", `colors=${at("colours.jsonl")}`);
  expect(err).toContain('"colors", which is none of the model\'s domains');
  expect(code).toBe(1);
  expect((await addAnimals(at("moa"), "--rows", "nwe")).err).toContain("Expected one of new, all");
});

test("routers without labels are asked in the states they learned by, each for its own layer", async () => {
  const domains = ["--domains", `colours=${at("colours.jsonl")}`, `numbers=${at("numbers.jsonl")}`];
  const trained = await skein("moa", "train", ...base(), ...domains, "--out", at("unlabelled"), ...SMALL, "--no-labels");
  expect(trained.code).toBe(0);
  expect(JSON.parse(await readFile(at("unlabelled/moa.json"), "utf8"))).toMatchObject({ states: "adapted", training: { labels: false } });
  const asked = (...more: string[]) =>
    skein("generate", "green", "two", ...base(), "--pool", at("unlabelled"), "--json", "--routes", ...more);
  expect((await asked()).out).toBe((await asked("--decide", "per-layer")).out);
});

test.each<[string, string[], string]>([
  ["a domain without a pool", ["--domain", "colours"], "Domains are those of a pool"],
  ["a rule without a pool", ["--decide", "last"], "Domains are those of a pool"],
  ["top-k with one LoRA for a text", ["--pool", "MOA", "--top-k", "2"], "Router moa takes one LoRA"],
])("%s is refused", async (_, options, message) => {
  const { code, err } = await skein("generate", "green", ...base(), ...options.map((option) => option.replace("MOA", at("moa"))));
  expect(err).toContain(message);
  expect(code).toBe(1);
});
