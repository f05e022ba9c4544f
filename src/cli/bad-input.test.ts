/** @file What people get wrong, by command lines: each ends with 1, says what, where and how to mend it, and leaves no file behind. */

import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { CheckpointError } from "../base/errors.ts";
import { float32, int64 } from "../base/tensor.ts";
import { openSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { Run } from "../training/run.ts";
import { skein } from "./captured-io.test-helper.ts";

const ADAPTER = golden("t5/adapter_init");
const SMALL = "--batch-size 2 --micro-batch-size 2 --rank 2 --dropout 0 --max-length 8".split(" ");
const PAIR = '{"input": "red", "target": "one"}\n';

let folder: string;
let copies = 0;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-bad-"));
  await cp(golden("t5/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), ["red", "one"], { appendEnd: true });
  await writeFile(at("good.jsonl"), PAIR);
  await writeSafetensors(at("in.safetensors"), { input_ids: int64([1, 2], [3, 1]), decoder_input_ids: int64([1, 1], [0]) });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A copy of a folder in which `change` spoiled something. */
async function spoiled(source: string, change: (copy: string) => Promise<void>): Promise<string> {
  const copy = at(`copy-${copies++}`);
  await cp(source, copy, { recursive: true });
  await change(copy);
  return copy;
}

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
type Header = Record<string, Entry>;
/** Rewrites a safetensors file with another header; `length` is what it claims for it. */
async function withHeader(file: string, change: (header: Header, names: readonly string[]) => void, length?: number): Promise<void> {
  const bytes = await readFile(file);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, end)) as Header;
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  change(
    header,
    names.sort((a, b) => header[a]!.data_offsets[0] - header[b]!.data_offsets[0]),
  );
  const json = Buffer.from(JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(length ?? json.length));
  await writeFile(file, Buffer.concat([start, json, bytes.subarray(end)]));
}

/** Rewrites a JSON file with other fields. */
async function withFields(file: string, fields: Record<string, unknown>): Promise<void> {
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, "utf8")), ...fields }));
}

/** Runs a command that must fail by the user's doing, and gives what it said. */
async function refused(...argv: string[]): Promise<string> {
  const before = await readdir(folder);
  const { code, err } = await skein(...argv);
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^\w+Error: [\s\S]+\n {2}fix: {3}\S/m) });
  expect(await readdir(folder)).toEqual(before);
  return err;
}

const forward = (...options: string[]) =>
  refused("forward", "--base", at("base"), ...options, "--inputs", at("in.safetensors"), "--out", at("never.safetensors"));
const TENSORS = "model.safetensors";
const shift = (entry: Entry, by: number) => {
  entry.data_offsets = [entry.data_offsets[0] + by, entry.data_offsets[1] + by];
};

test.each<[string, (base: string) => Promise<void>, RegExp]>([
  ["no tensors", (base) => rm(join(base, TENSORS)), /Neither model.safetensors nor model.safetensors.index.json/],
  ["no config.json", (base) => rm(join(base, "config.json")), /No config.json/],
  ["pickled tensors", (base) => rename(join(base, TENSORS), join(base, "pytorch_model.bin")), /pickle/],
  [
    "half a file",
    async (base) => writeFile(join(base, TENSORS), (await readFile(join(base, TENSORS))).subarray(0, 9000)),
    /model.safetensors/,
  ],
  ["a Git LFS pointer", (base) => writeFile(join(base, TENSORS), "version https://git-lfs.github.com/spec/v1\n"), /Git LFS pointer/],
  [
    "a header of 2^60 bytes",
    (base) => withHeader(join(base, TENSORS), () => {}, 2 ** 60),
    /header claims 1152921504606847000 bytes, more than 100000000/,
  ],
  ["a header longer than the file", (base) => withHeader(join(base, TENSORS), () => {}, 9e7), /header claims 90000000 bytes, the file has/],
  ["a header cut short", (base) => withHeader(join(base, TENSORS), () => {}, 50), /header is not JSON/],
  ["overlapping tensors", (base) => withHeader(join(base, TENSORS), (header, names) => shift(header[names[1]!]!, -4)), /overlaps/],
  [
    "offsets out of range",
    (base) => withHeader(join(base, TENSORS), (header, names) => shift(header[names.at(-1)!]!, 1e9)),
    /leaves unused bytes/,
  ],
  [
    "an unknown dtype",
    (base) =>
      withHeader(join(base, TENSORS), (header, names) => {
        header[names[0]!]!.dtype = "F4";
      }),
    /unknown dtype "F4"; known: .*BF16/,
  ],
  [
    "another model's tensors",
    (base) => withFields(join(base, "config.json"), { d_ff: 128 }),
    /has shape \[96, 64\]; config.json asks for \[128, 64\]/,
  ],
  ["an unsupported model_type", (base) => withFields(join(base, "config.json"), { model_type: "mamba" }), /"mamba"[\s\S]*llama.*t5/],
  ["a model_type of JavaScript's", (base) => withFields(join(base, "config.json"), { model_type: "toString" }), /"toString"/],
  ["a field of another kind", (base) => withFields(join(base, "config.json"), { d_model: "64" }), /d_model: [\s\S]*copy-\d+.config.json/],
])("a base with %s", async (_, change, message) => {
  const base = await spoiled(at("base"), change);
  expect(await refused("forward", "--base", base, "--inputs", at("in.safetensors"), "--out", at("never.safetensors"))).toMatch(message);
});

const CONFIG = "adapter_config.json";
test.each<[string, (adapter: string) => Promise<void>, RegExp]>([
  ["DoRA", (adapter) => withFields(join(adapter, CONFIG), { use_dora: true }), /use_dora is true/],
  ["modules_to_save", (adapter) => withFields(join(adapter, CONFIG), { modules_to_save: ["lm_head"] }), /modules_to_save is \["lm_head"\]/],
  [
    "a pickle only",
    (adapter) => rename(join(adapter, "adapter_model.safetensors"), join(adapter, "adapter_model.bin")),
    /pickle[\s\S]*adapter_model.bin/,
  ],
  [
    "modules the base has not",
    (adapter) =>
      withHeader(join(adapter, "adapter_model.safetensors"), (header, names) => {
        for (const name of names) {
          const entry = header[name]!;
          delete header[name];
          header[name.replace(".q.", ".query.")] = entry;
        }
      }),
    /no module "\S+query"[\s\S]*Closest names/,
  ],
  [
    "another base's fingerprint",
    (adapter) =>
      withHeader(join(adapter, "adapter_model.safetensors"), (header) => {
        Object.assign(header, { __metadata__: { base_fingerprint: "abc" } });
      }),
    /another base model: fingerprint abc/,
  ],
])("an adapter with %s", async (_, change, message) => {
  expect(await forward("--adapter", await spoiled(ADAPTER, change))).toMatch(message);
});

test("an adapter whose shapes are another base's", async () => {
  const base = await spoiled(golden("llama/model"), async () => {});
  await writeSafetensors(at("ids.safetensors"), { input_ids: int64([1, 2], [3, 1]) });
  const files = ["--inputs", at("ids.safetensors"), "--out", at("never.safetensors")];
  expect(await refused("forward", "--base", base, "--adapter", ADAPTER, ...files)).toContain("no module");
});

test.each<[string, string, RegExp]>([
  ["is empty", "", /The dataset is empty/],
  ["has a bad line", `${PAIR}{"input": "red",\n`, /Not valid JSON[\s\S]*data.jsonl, line 2/],
  ["misses a field", `${PAIR}\n{"input": "red"}\n`, /its fields are input[\s\S]*data.jsonl, line 3/],
  ["has an empty target", '{"input": "red", "target": ""}\n', /The target is empty[\s\S]*data.jsonl, line 1/],
])("a dataset that %s", async (_, text, message) => {
  await writeFile(at("data.jsonl"), text);
  expect(await refused("train", "--base", at("base"), "--data", at("data.jsonl"), "--out", at("never"), ...SMALL)).toMatch(message);
});

test.each<[string, readonly string[]]>([
  ["eval", ["good.jsonl", "--out", "good.jsonl"]],
  ["eval", ["good.jsonl", "--out", "results", "--cache", "good.jsonl"]],
  ["eval", ["good.jsonl", "--out", "results", "--report", "base"]],
  ["trace", ["red", "--pool", "pool", "--out", "base"]],
  ["trace", ["red", "--pool", "pool", "--out", "good.jsonl/page.html"]],
  ["forward", ["--inputs", "in.safetensors", "--out", "base"]],
  ["merge", ["base", "--out", "good.jsonl"]],
  ["lorahub", ["--pool", "pool", "--data", "good.jsonl", "--out", "good.jsonl"]],
  ["moa train", ["--domains", "a=good.jsonl", "--out", "good.jsonl"]],
])("%s: a destination that cannot be written is refused before a base is opened", async (command, options) => {
  const paths = options.map((option) => (/^(?:--|red|a=)/.test(option) ? option : at(option)));
  const err = await refused(...command.split(" "), ...paths, "--base", at("no-such-base"));
  expect(err).toMatch(/There is a (?:file where a folder|folder where a file) is to be written/);
});

test.skipIf(process.getuid?.() === 0)("gate: an expert's folder that takes no gates is refused before the work", async () => {
  const expert = await spoiled(ADAPTER, (copy) => chmod(copy, 0o555));
  const command = ["gate", expert, "--base", at("base"), "--data", at("good.jsonl"), "--steps", "1000000", "--max-length", "8"];
  expect(await refused(...command)).toMatch(/EACCES[\s\S]*permission to write/);
  await chmod(expert, 0o755);
});

test("a file in the place of the folder to write is refused before the work", async () => {
  const command = ["train", "--base", at("base"), "--data", at("good.jsonl"), "--out", at("good.jsonl"), "--run", at("copy-0/run")];
  expect(await refused(...command, "--steps", "1000000", ...SMALL)).toContain("There is a file where a folder is to be written");
});

test("targets longer than the limit are cut, with a warning that counts them", async () => {
  await writeFile(at("long.jsonl"), `{"input": "red", "target": "${"one ".repeat(20)}"}\n${PAIR}`);
  const command = ["train", "--base", at("base"), "--data", at("long.jsonl"), "--out", at("long"), "--steps", "1", ...SMALL];
  const { code, err } = await skein(...command);
  expect(code).toBe(0);
  expect(err).toContain("1 of 2 examples were longer than 8 tokens and were cut");
});

test("a run that diverges keeps the last good state and says what to try", async () => {
  await mkdir(at("diverged"));
  const run = at("diverged/run");
  const command = ["train", "--base", at("base"), "--data", at("good.jsonl"), "--out", at("diverged/expert"), "--run", run];
  const err = await refused(...command, ...SMALL, ..."--lr 1e30 --warmup-ratio 0.5 --steps 6 --save-every 1".split(" "));
  expect(err).toMatch(/Training has diverged: after \d+ steps the loss is (NaN|-?Infinity)[\s\S]*--lr/);
  expect(await readdir(at("diverged"))).toEqual(["run"]); // no expert
  const [, ruined] = /after (\d+) steps/.exec(err)!;
  const { metadata } = await openSafetensors(join(run, "state.safetensors"));
  expect(Number(metadata.step)).toBe(Number(ruined) - 1);
});

test("a run whose saved state is damaged is not begun anew in silence", async () => {
  const run = at("diverged/run");
  const metrics = await readFile(join(run, "metrics.jsonl"), "utf8");
  await writeFile(join(run, "state.safetensors"), "damaged, or so it seems");
  const command = ["train", "--base", at("base"), "--data", at("good.jsonl"), "--out", at("diverged/expert"), "--run", run];
  const err = await refused(...command, ...SMALL, ..."--lr 1e30 --warmup-ratio 0.5 --steps 6 --save-every 1".split(" "));
  expect(err).toContain("The run's saved state is damaged");
  expect(await readFile(join(run, "metrics.jsonl"), "utf8")).toBe(metrics);
});

test.skipIf(process.platform !== "linux")("a disk that fills up while a run goes on (skipped where there is no /dev/full)", async () => {
  const run = await Run.open(at("full"), {});
  await symlink("/dev/full", at("full/metrics.jsonl"));
  const refusal = run.log({ step: 1, loss: 0 });
  await expect(refusal).rejects.toBeInstanceOf(CheckpointError);
  await expect(refusal).rejects.toThrow(/ENOSPC[\s\S]*metrics.jsonl[\s\S]*Free some space/);
});

test("check lists layers in their order: 2 before 10", async () => {
  const lora = (layer: number): [string, ReturnType<typeof float32>][] =>
    ["A", "B"].map((factor) => [
      `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${factor}.weight`,
      float32(factor === "A" ? [2, 4] : [4, 2]),
    ]);
  await mkdir(at("deep"));
  await writeSafetensors(at("deep/adapter_model.safetensors"), Object.fromEntries([10, 2, 0].flatMap(lora)));
  await writeFile(at("deep/adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: ["q_proj"] }));
  const { out } = await skein("check", at("deep"));
  expect(out.match(/layers\.(\d+)\./g)).toEqual(["layers.0.", "layers.2.", "layers.10."]);
});
