/** @file Twenty-five thousand hostile files in memory: PyTorch's own with bytes changed, cut and moved; random instructions in a valid
 *  zip file; and malicious pickles. No file runs code, hangs, or takes more memory than its size allows. Each failure is a UserError
 *  that says what, where and how to fix it. */

import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { UserError } from "../base/errors.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { bytesOf, tensorBytes } from "./read-tensor.ts";
import { bytesSource, type Source } from "./source.ts";
import { latin, namedPickle, torchZip } from "./torch-file.test-helper.ts";
import { torchTensors } from "./torch-file.ts";

const SEEDS = ["plain.pt", "protocol4.pt", "legacy.pt", "deflated.pt", "object.pt"].map(
  (name) => new Uint8Array(readFileSync(golden(`torch_files/${name}`))),
);

/** Opens a file and reads every tensor; returns the outcome. */
function outcome(bytes: Uint8Array): "read" | UserError {
  let asked = 0;
  const plain = bytesSource(bytes, "hostile.pt");
  const source: Source = {
    ...plain,
    read: (offset, length) => {
      asked += length;
      return plain.read(offset, length);
    },
  };
  try {
    const file = torchTensors(source);
    for (const [name, view] of file.tensors) {
      const numbers = tensorBytes(file, name, view);
      // A deflated byte stands for at most 1032.
      if (numbers.length !== bytesOf(view) || numbers.length > 1032 * (bytes.length + 1))
        throw new Error(`${name}: ${numbers.length} bytes`);
    }
    if (asked > (file.tensors.size + 4) * (bytes.length + 512)) throw new Error(`${asked} bytes were read of ${bytes.length}`);
    return "read";
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // Does not use expect, which takes longer than reading the file.
    const { what, where, fix } = error;
    if (what !== "" && where?.includes("hostile.pt") && fix !== "" && error.message.length < 10_000) return error;
    throw new Error(`an error that says too little or too much: ${error.message.slice(0, 10_000)}`);
  }
}

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0xfffe, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

function mutated(original: Uint8Array, random: Random): Uint8Array {
  let bytes = new Uint8Array(original);
  for (let left = 1 + random.integer(4); left > 0; left--) {
    const at = random.integer(bytes.length);
    const kind = random.integer(6);
    if (kind === 0) bytes[at] = random.integer(256);
    else if (kind === 1) bytes[at] = bytes[at]! ^ (1 << random.integer(8));
    else if (kind === 2) {
      const value = EXTREMES[random.integer(EXTREMES.length)]!;
      const width = [1, 2, 4, 8][random.integer(4)]!;
      for (let i = 0; i < width && at + i < bytes.length; i++) bytes[at + i] = Math.floor(value / 256 ** i) & 0xff;
    } else if (kind === 3) bytes = bytes.slice(0, at + 1);
    else if (kind === 4) bytes.copyWithin(at, random.integer(bytes.length), random.integer(bytes.length));
    else bytes = new Uint8Array(Buffer.concat([bytes.subarray(0, at), bytes.subarray(random.integer(bytes.length))]));
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}

test("15,000 files of PyTorch with their bytes changed", () => {
  const random = seededRandom(1);
  const counts = { read: 0, failed: 0 };
  for (let i = 0; i < 15_000; i++) {
    const result = outcome(mutated(SEEDS[i % SEEDS.length]!, random));
    counts[result === "read" ? "read" : "failed"]++;
  }
  // Changed numbers are still numbers.
  expect(counts.read).toBeGreaterThan(500);
  expect(counts.failed).toBeGreaterThan(5000);
}, 60_000);

test("5,000 changed pickles in sound zip files", () => {
  const random = seededRandom(2);
  const storage = new Uint8Array(96);
  const pickle = tensorPickle("x", 24, [4, 6], [6, 1]);
  expect(outcome(torchZip(pickle, { "x/data/0": storage }))).toBe("read");
  for (let i = 0; i < 5000; i++) outcome(torchZip(mutated(pickle, random), { "x/data/0": storage }));
}, 60_000);

test("5,000 pickles of random instructions", () => {
  const random = seededRandom(3);
  const pieces = [
    "(", "0", "1", "2", "N", "\x88", "\x89", "K\x07", "M\x01\x02", "J\xff\xff\xff\xff", "\x8a\x02\xff\x7f", "G@\t!\xfbTD-\x18", ")", "\x85", "\x86",
    "\x87", "t", "]", "}", "a", "e", "s", "u", "l", "d", "\x8f", "\x90", "\x91", "q\x01", "h\x01", "\x94", "\x8c\x01a", "X\x02\0\0\0ab", "U\x01c", "C\x01d",
    "ccollections\nOrderedDict\n", "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch\nFloatStorage\n", "\x93", "R", "b", "Q", "I7\n", "I01\n", "L12L\n", "p3\n", "g3\n", "\x80\x04",
  ]; // biome-ignore format: a list of instructions
  for (let i = 0; i < 5000; i++) {
    const text = Array.from({ length: 1 + random.integer(60) }, () => pieces[random.integer(pieces.length)]!).join("");
    outcome(torchZip(latin(`\x80\x02${text}.`), { "x/data/0": new Uint8Array(16) }));
  }
}, 60_000);

/** A state dict of one tensor in storage "0". */
function tensorPickle(name: string, numbers: number, shape: readonly number[], stride: readonly number[], offset = 0): Uint8Array {
  const int = (value: number) => `J${Buffer.from(Int32Array.of(value).buffer).toString("latin1")}`;
  const text = (words: string) => `X${String.fromCharCode(words.length)}\0\0\0${words}`;
  const ints = (values: readonly number[]) => `(${values.map(int).join("")}t`;
  const storage = `(${text("storage")}ctorch\nFloatStorage\n${text("0")}${text("cpu")}${int(numbers)}tQ`;
  const tensor = `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${int(offset)}${ints(shape)}${ints(stride)}\x89ccollections\nOrderedDict\n)RtR`;
  return latin(`\x80\x02}${text(name)}${tensor}s.`);
}

describe("made to harm", () => {
  const canary = join(tmpdir(), `skein-canary-${process.pid}`);
  const touch = `X${String.fromCharCode(canary.length + 6)}\0\0\0touch ${canary}`;

  test.each([
    ["os", "system"],
    ["posix", "system"],
    ["subprocess", "call"],
    ["builtins", "exec"],
    ["__builtin__", "eval"],
    ["torch", "load"],
    ["torch._utils", "_rebuild_tensor_v2.__globals__"],
    ["constructor", "constructor"],
    ["__proto__", "constructor"],
    ["torch", "__proto__"],
    ["torch", "hasOwnProperty"],
    ["collections", "OrderedDict.constructor"],
  ])("the name %s.%s is refused before anything is done with it", (module, name) => {
    for (const pickle of [
      namedPickle(module, name, `(${touch}tR`),
      latin(`\x80\x04\x8c${String.fromCharCode(module.length)}${module}\x8c${String.fromCharCode(name.length)}${name}\x93${touch}\x85R.`),
    ]) {
      const result = outcome(torchZip(pickle));
      expect(result).toBeInstanceOf(UserError);
      expect((result as UserError).what).toContain(`"${module}.${name}"`);
    }
    expect(existsSync(canary)).toBe(false);
  });

  test("other ways of making objects", () => {
    for (const rest of [
      "(S'x'\nios\nsystem\n",
      "(ccollections\nOrderedDict\no",
      "ccollections\nOrderedDict\n)\x81",
      "\x82\x01",
      "Pid\n",
      "\x97",
    ]) {
      expect(outcome(torchZip(latin(`\x80\x02${rest}.`))), rest).toBeInstanceOf(UserError);
    }
  });

  test("keys that are words of JavaScript are names of tensors like others", () => {
    for (const name of ["__proto__", "constructor", "toString"]) {
      const file = torchTensors(bytesSource(torchZip(tensorPickle(name, 4, [2, 2], [2, 1]), { "x/data/0": new Uint8Array(16) }), "x"));
      expect([...file.tensors.keys()]).toEqual([name]);
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test.each([
    ["numbers that are not there", tensorPickle("x", 24, [5, 6], [6, 1])],
    ["a storage that is not there", tensorPickle("x", 2 ** 30, [2], [1])],
    ["a negative size", tensorPickle("x", 24, [-1, 6], [6, 1])],
    ["a negative stride", tensorPickle("x", 24, [4, 6], [-6, 1])],
    ["a negative offset", tensorPickle("x", 24, [4], [1], -4)],
    ["sizes beyond all numbers", tensorPickle("x", 24, Array(20).fill(2 ** 31 - 1), Array(20).fill(0))],
    ["a trillion numbers out of one", tensorPickle("x", 24, [1e6, 1e6], [0, 0])],
    ["a thousand axes", tensorPickle("x", 24, Array(1000).fill(1), Array(1000).fill(1))],
  ])("%s", (_, pickle) => {
    expect(outcome(torchZip(pickle, { "x/data/0": new Uint8Array(96) }))).toBeInstanceOf(UserError);
  });

  test("a list that holds itself, and a thousand million laughs", () => {
    expect(outcome(torchZip(latin("\x80\x02]q\0h\0a.")))).toBeInstanceOf(UserError);
    const laughs = Array.from(
      { length: 200 },
      (_, i) => `](${`h${String.fromCharCode(i)}`.repeat(10)}eq${String.fromCharCode(i + 1)}`,
    ).join("");
    expect(outcome(torchZip(latin(`\x80\x02]q\0${laughs}.`)))).toBeInstanceOf(UserError);
    expect(outcome(torchZip(latin(`\x80\x02}X\x01\0\0\0a(]q\0${laughs}ls.`)))).toBe("read");
  });

  const MANY = 4_000_000;
  test.each([
    ["marks", "("],
    ["dicts", "}"],
    ["lists in lists", "]("],
    ["notes", "]\x94\x94\x94\x94"],
    ["empty tuples", ")2222"],
    ["dicts of one", "}NNs"],
    ["ordered dicts", "ccollections\nOrderedDict\n)R"],
    [
      "one long list again and again",
      `ccollections\nOrderedDict\nq\x01(${"(K\x01K\x02t".repeat(20_000)}lq\x02${"h\x01h\x02\x85R".repeat(MANY / 6)}`,
    ],
  ])("millions of %s", (_, piece) => {
    const bytes = latin(`\x80\x02${piece.repeat(Math.ceil(MANY / piece.length))}N.`);
    const before = process.memoryUsage().rss;
    const start = performance.now();
    expect(outcome(torchZip(bytes))).toBeInstanceOf(UserError);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * bytes.length);
  });

  test("lengths of texts and numbers that the file does not have", () => {
    for (const rest of [
      "X\xff\xff\xff\x7f",
      "\x8d\xff\xff\xff\xff\xff\xff\x1f\0",
      "\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
      "\x8b\xff\xff\xff\x7f",
      `I${"9".repeat(3000)}\n`,
    ]) {
      expect(outcome(torchZip(latin(`\x80\x02${rest}aaaa.`))), rest.slice(0, 9)).toBeInstanceOf(UserError);
    }
    expect(outcome(torchZip(latin(`\x80\x02\x8b\x00\x10\0\0${"\x7f".repeat(4096)}.`)))).toBeInstanceOf(UserError);
  });
});
