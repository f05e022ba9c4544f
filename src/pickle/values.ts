/** @file The values in a pickle of tensors. None is a real Python object: a name is only a name, and a call of a known name makes
 *  another of these values. */

import type { FileDType } from "../checkpoint/dtypes.ts";

export interface Tuple {
  readonly kind: "tuple";
  readonly items: readonly Value[];
}
export interface List {
  readonly kind: "list";
  readonly items: Value[];
}
/** A dict or OrderedDict. Most are empty hooks, so the map is made for the first entry. */
export interface Dict {
  readonly kind: "dict";
  entries: Map<Value, Value> | undefined;
}
/** A class or function that tensors need, by its Python name. */
export interface Name {
  readonly kind: "name";
  readonly name: string;
}
/** The memory behind tensors, which are views of it. */
export interface Storage {
  readonly kind: "storage";
  readonly key: string;
  /** Undefined for raw memory, where each tensor has its own dtype. */
  readonly dtype: FileDType | undefined;
  /** The size that the pickle gives. */
  readonly bytes: number;
  /** Its offset in the memory of that key; only old files have views of a storage. */
  readonly start: number;
}
/** A view of a storage: element [i, j, ...] is number offset + i stride[0] + j stride[1] + ... of it. */
export interface View {
  readonly kind: "tensor";
  readonly storage: Storage;
  readonly dtype: FileDType;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}
/** A property of tensors that does not change their numbers: a device, a layout. */
export interface Other {
  readonly kind: "other";
  readonly name: string;
}

export type Value = null | boolean | number | bigint | string | Uint8Array | Tuple | List | Dict | Name | Storage | View | Other;

/** A description of a value for errors, without its content. */
export function described(value: Value): string {
  if (value === null) return "None";
  if (typeof value !== "object") return typeof value === "string" ? "a text" : typeof value === "boolean" ? "True or False" : "a number";
  if (value instanceof Uint8Array) return "bytes";
  switch (value.kind) {
    case "tuple":
    case "list":
      return `a ${value.kind} of ${value.items.length}`;
    case "dict":
      return `a dict of ${value.entries?.size ?? 0}`;
    case "name":
      return `the name ${value.name}`;
    case "other":
      return value.name;
    case "storage":
    case "tensor":
      return `a ${value.kind}`;
  }
}
