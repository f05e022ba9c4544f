/** @file For tests: valid and invalid zip files and pickles, written byte by byte. */

import { crc32 } from "node:zlib";

interface ZipOptions {
  /** With a zip64 record, and the sizes in the entries' extra fields. */
  readonly wide?: boolean;
}

/** A zip file with uncompressed entries. */
export function storedZip(entries: Readonly<Record<string, Uint8Array>>, { wide = false }: ZipOptions = {}): Uint8Array {
  const [parts, directory]: [Buffer[], Buffer[]] = [[], []];
  let at = 0;
  for (const [name, bytes] of Object.entries(entries)) {
    const title = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(title.length, 26);
    parts.push(local, title, Buffer.from(bytes));
    directory.push(directoryEntry(title, bytes, at, wide));
    at += 30 + title.length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  return new Uint8Array(Buffer.concat([...parts, ...directory, ...directoryEnd(directory.length, size, at, wide)]));
}

function directoryEntry(title: Buffer, bytes: Uint8Array, at: number, wide: boolean): Buffer {
  const entry = Buffer.alloc(46);
  const extra = Buffer.alloc(wide ? 28 : 0);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt32LE(crc32(bytes), 16);
  for (const [offset, value] of [20, 24, 42].map((offset, i) => [offset, i === 2 ? at : bytes.length] as const)) {
    entry.writeUInt32LE(wide ? 0xffffffff : value, offset);
  }
  entry.writeUInt16LE(title.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  if (wide) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    [bytes.length, bytes.length, at].forEach((value, i) => void extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i));
  }
  return Buffer.concat([entry, title, extra]);
}

function directoryEnd(count: number, size: number, at: number, wide: boolean): Buffer[] {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(wide ? 0xffff : count, 8);
  end.writeUInt16LE(wide ? 0xffff : count, 10);
  end.writeUInt32LE(wide ? 0xffffffff : size, 12);
  end.writeUInt32LE(wide ? 0xffffffff : at, 16);
  if (!wide) return [end];
  const [record, locator] = [Buffer.alloc(56), Buffer.alloc(20)];
  record.writeUInt32LE(0x06064b50, 0);
  record.writeBigUInt64LE(44n, 4);
  [count, count, size, at].forEach((value, i) => void record.writeBigUInt64LE(BigInt(value), 24 + 8 * i));
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(at + size), 8);
  return [record, locator, end];
}

/** A file in torch.save's format with this pickle and these further entries. */
export function torchZip(pickle: Uint8Array, entries: Readonly<Record<string, Uint8Array>> = {}, options: ZipOptions = {}): Uint8Array {
  return storedZip({ "x/data.pkl": pickle, ...entries, "x/version": Buffer.from("3\n") }, options);
}

/** A pickle that pushes a name and continues with `rest`, in latin1. */
export function namedPickle(module: string, name: string, rest: string): Uint8Array {
  return latin(`\x80\x02c${module}\n${name}\n${rest}.`);
}

export const latin = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

/** A state dict of float32 tensors, each in its own storage, in torch.save's format. */
export function torchState(
  tensors: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: Float32Array }>>,
): Uint8Array {
  const text = (words: string) => `X${latinOf(Uint32Array.of(words.length))}${words}`;
  const ints = (values: readonly number[]) => `(${values.map((value) => `J${latinOf(Int32Array.of(value))}`).join("")}t`;
  const entries: Record<string, Uint8Array> = {};
  const items = Object.entries(tensors).map(([name, { shape, data }], i) => {
    entries[`x/data/${i}`] = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const stride = shape.map((_, axis) => shape.slice(axis + 1).reduce((all, size) => all * size, 1));
    const storage = `(${text("storage")}ctorch\nFloatStorage\n${text(String(i))}${text("cpu")}J${latinOf(Int32Array.of(data.length))}tQ`;
    const tensor = `(${storage}K\0${ints(shape)}${ints(stride)}\x89ccollections\nOrderedDict\n)Rt`;
    return `${text(name)}ctorch._utils\n_rebuild_tensor_v2\n${tensor}R`;
  });
  return torchZip(latin(`\x80\x02}(${items.join("")}u.`), entries);
}

const latinOf = (numbers: Uint32Array | Int32Array): string => Buffer.from(numbers.buffer).toString("latin1");
