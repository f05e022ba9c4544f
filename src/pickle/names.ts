/** @file The names that a file of tensors may use, and their meanings (following torch/_weights_only_unpickler.py).
 *
 *  A pickle is a program that can call any function of Python. Skein has none of these functions. It implements the few names below
 *  itself and refuses a file at the first other name. */

import type { FileDType } from "../checkpoint/dtypes.ts";
import { DTYPE_BYTES } from "../checkpoint/dtypes.ts";
import { damaged } from "./source.ts";
import { type Dict, described, type List, type Name, type Storage, type Value, type View } from "./values.ts";

const STORAGES: Readonly<Record<string, FileDType | undefined>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
  UntypedStorage: undefined,
};

const DTYPES: Readonly<Record<string, FileDType>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint64: "U64",
  uint32: "U32",
  uint16: "U16",
  uint8: "U8",
  bool: "BOOL",
};

/** The position of the reader in the file. */
export interface Site {
  /** For errors. */
  where(): string;
  /** Counts the values that a short instruction makes in large number. */
  charge(values: number): void;
}

type Call = (args: readonly Value[], site: Site) => Value;

/** The largest number of axes of a PyTorch tensor. */
const MOST_AXES = 64;

const ignored = (name: string): Call => {
  const other = { kind: "other", name } as const;
  return () => other;
};

/** Functions and classes that may be called. */
const CALLS: Readonly<Record<string, Call>> = {
  "collections.OrderedDict": orderedDict,
  "torch.Size": ([items], site) => ({ kind: "tuple", items: sequence(items, site) }),
  "torch.device": ignored("a device"),
  "torch.serialization._get_layout": ignored("a layout"),
  "torch._utils._rebuild_tensor": rebuiltTensor,
  "torch._utils._rebuild_tensor_v2": rebuiltTensor,
  "torch._utils._rebuild_tensor_v3": rebuiltTensor,
  "torch._utils._rebuild_parameter": firstTensor,
  "torch._utils._rebuild_parameter_with_state": firstTensor,
  "torch.nn.parameter.Parameter": firstTensor,
};

const KNOWN: ReadonlyMap<string, Name> = new Map(
  [
    ...Object.keys(CALLS),
    ...Object.keys(STORAGES).flatMap((name) => [`torch.${name}`, `torch.cuda.${name}`, `torch.storage.${name}`]),
    ...Object.keys(DTYPES).map((name) => `torch.${name}`),
  ].map((name) => [name, { kind: "name", name }]),
);

/** The meaning of a name, or undefined where Skein gives it none. */
export function knownName(name: string): Name | undefined {
  return KNOWN.get(name);
}

/** What Python would make of `called(*args)`. */
export function called(callee: Value, args: Value, site: Site): Value {
  const name = isKind(callee, "name") ? callee.name : undefined;
  const call = name !== undefined && Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
  if (!call) throw damaged(site.where(), `it calls ${described(callee)}, which is no function.`);
  return call(sequence(args, site), site);
}

/** The storage that a file's persistent id speaks of: ("storage", class, key, location, numbers[, view]). */
export function storageOf(id: Value, site: Site): Storage {
  const [tag, type, key, , count, view] = isKind(id, "tuple") ? id.items : [];
  const short = isKind(type, "name") ? (type.name.split(".").at(-1) ?? "") : "";
  if (asText(tag) !== "storage" || !Object.hasOwn(STORAGES, short))
    throw damaged(site.where(), `it refers to ${described(id)} outside itself.`);
  const dtype = STORAGES[short];
  const name = asText(key) ?? (typeof key === "number" ? String(key) : undefined);
  if (name === undefined) throw damaged(site.where(), "a storage without a key.");
  const width = dtype === undefined ? 1 : DTYPE_BYTES[dtype];
  const bytes = product(asCount(count, site), width, site);
  if (view === undefined || view === null) return { kind: "storage", key: name, dtype, bytes, start: 0 };
  const [, start, length] = sequence(view, site);
  const [first, size] = [product(asCount(start, site), width, site), product(asCount(length, site), width, site)];
  if (first + size > bytes) throw damaged(site.where(), `a view of storage ${name} that ends outside it.`);
  return { kind: "storage", key: name, dtype, bytes: size, start: first };
}

function orderedDict(args: readonly Value[], site: Site): Dict {
  const dict: Dict = { kind: "dict", entries: undefined };
  const [pairs] = args;
  if (pairs === undefined) return dict;
  dict.entries = new Map();
  const items = sequence(pairs, site);
  site.charge(items.length);
  for (const pair of items) {
    const [key, value] = sequence(pair, site);
    if (key === undefined || value === undefined) throw damaged(site.where(), "an entry of a dict that is no pair.");
    dict.entries.set(key, value);
  }
  return dict;
}

/** (storage, offset, size, stride, requires_grad, hooks, dtype or metadata) */
function rebuiltTensor([storage, offset, size, stride, , , last]: readonly Value[], site: Site): View {
  if (!isKind(storage, "storage")) throw damaged(site.where(), `a tensor in ${described(storage ?? null)} instead of a storage.`);
  const named = isKind(last, "name") ? dtypeNamed(last) : undefined;
  const dtype = named ?? storage.dtype;
  if (dtype === undefined) throw damaged(site.where(), "a tensor in raw memory that says no dtype.");
  const [sizes, strides, start] = [sequence(size, site), sequence(stride, site), asCount(offset, site)];
  if (sizes.length !== strides.length || sizes.length > MOST_AXES) {
    throw damaged(site.where(), `a tensor of ${sizes.length} axes with ${strides.length} strides.`);
  }
  const shape = sizes.map((value) => asCount(value, site));
  const steps = strides.map((value) => asCount(value, site));
  const count = shape.reduce((all, length) => product(all, length, site), 1);
  const last0 = shape.reduce((at, length, axis) => at + product(Math.max(0, length - 1), steps[axis] ?? 0, site), start);
  const needed = count === 0 ? 0 : product(last0 + 1, DTYPE_BYTES[dtype], site);
  if (needed > storage.bytes) {
    throw damaged(site.where(), `a tensor [${shape}] that needs ${needed} bytes of storage ${storage.key}, which has ${storage.bytes}.`);
  }
  return { kind: "tensor", storage, dtype, offset: start, shape, stride: steps };
}

function dtypeNamed({ name }: Name): FileDType | undefined {
  const short = name.replace(/^torch\./, "");
  return Object.hasOwn(DTYPES, short) ? DTYPES[short] : undefined;
}

function firstTensor([tensor]: readonly Value[], site: Site): Value {
  if (isKind(tensor, "tensor")) return tensor;
  throw damaged(site.where(), `a parameter made of ${described(tensor ?? null)}.`);
}

type Kinds = Exclude<Value, null | boolean | number | bigint | string | Uint8Array>["kind"];

export function isKind<K extends Kinds>(value: Value | undefined, kind: K): value is Extract<Value, { readonly kind: K }> {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array) && value.kind === kind;
}

function sequence(value: Value | undefined, site: Site): readonly Value[] {
  if (isKind(value, "tuple") || isKind(value, "list")) return (value as List).items;
  throw damaged(site.where(), `${described(value ?? null)} where a tuple or list belongs.`);
}

/** Python 2 stored identifiers as bytes. */
function asText(value: Value | undefined): string | undefined {
  if (value instanceof Uint8Array) return new TextDecoder("latin1").decode(value);
  return typeof value === "string" ? value : undefined;
}

function asCount(value: Value | undefined, site: Site): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw damaged(
    site.where(),
    `${typeof value === "number" || typeof value === "bigint" ? value : described(value ?? null)} where a size belongs.`,
  );
}

function product(a: number, b: number, site: Site): number {
  if (Number.isSafeInteger(a * b)) return a * b;
  throw damaged(site.where(), `a tensor or storage of ${a} times ${b}, larger than any file.`);
}
