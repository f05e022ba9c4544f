/** @file Equal records of numbers, one for each expert of a stack: an immutable view of a buffer that grows.
 *  Views of one buffer share it, so that one more expert costs only that expert's bytes. */

import { elements, type HostArrays, type HostTensor } from "../base/tensor.ts";
import type { Precision } from "../checkpoint/copy-numbers.ts";

/** The numbers of a record, or their bits in 16 bits. */
export type Numbers = HostArrays[Precision];

/** The buffer that views share. `used` counts the records that some view can see. */
interface Store {
  readonly data: Numbers;
  used: number;
}

// Records that are not used yet take addresses but no memory: the system gives a page when it is first written.
const spare = (count: number) => count + Math.max(4, Math.ceil(count / 2));

export class Records {
  readonly #shape: readonly number[];
  readonly #precision: Precision;
  readonly #size: number;
  readonly #store: Store;
  readonly #count: number;
  #tensor: HostTensor<Precision> | undefined;

  private constructor(shape: readonly number[], precision: Precision, store: Store, count: number) {
    this.#shape = shape;
    this.#precision = precision;
    this.#size = elements(shape);
    this.#store = store;
    this.#count = count;
  }

  /** A view of `count` records, which hold zeros and which the caller fills, with room for some more (`room` records in all). */
  static of<P extends Precision>(
    shape: readonly number[],
    count: number,
    precision: P,
    room = spare(count),
  ): { readonly records: Records; readonly record: (index: number) => HostArrays[P] } {
    const size = elements(shape);
    const data = zeros(precision, size * room);
    const record = (index: number) => data.subarray(index * size, (index + 1) * size) as HostArrays[P];
    return { records: new Records(shape, precision, { data, used: count }, count), record };
  }

  /** A view with one more record, which holds zeros and which the caller fills. Other views do not change. */
  with(): { readonly records: Records; readonly record: Numbers } {
    const [start, end] = [this.#count * this.#size, (this.#count + 1) * this.#size];
    const isFree = this.#store.used === this.#count && end <= this.#store.data.length;
    const store = isFree ? this.#store : this.#copied(spare(this.#count + 1));
    store.used = this.#count + 1;
    return { records: this.#view(store, store.used), record: store.data.subarray(start, end) };
  }

  /** A view without one record. If it is the last one, it is only hidden; otherwise the others are copied. */
  without(index: number): Records {
    const left = this.#count - 1;
    if (index === left) return this.#view(this.#store, left);
    const data = zeros(this.#precision, spare(left) * this.#size);
    const at = index * this.#size;
    data.set(this.#seen.subarray(0, at));
    data.set(this.#seen.subarray(at + this.#size), at);
    return this.#view({ data, used: left }, left);
  }

  /** All records: [count, ...shape]. One value for a view, so that an engine wraps it once. */
  get tensor(): HostTensor<Precision> {
    this.#tensor ??= { dtype: this.#precision, shape: [this.#count, ...this.#shape], data: this.#seen } as HostTensor<Precision>;
    return this.#tensor;
  }
  get #seen(): Numbers {
    return this.#store.data.subarray(0, this.#count * this.#size);
  }
  #view(store: Store, count: number): Records {
    return new Records(this.#shape, this.#precision, store, count);
  }
  #copied(room: number): Store {
    const data = zeros(this.#precision, room * this.#size);
    data.set(this.#seen);
    return { data, used: this.#count };
  }
}

function zeros(precision: Precision, length: number): Numbers {
  return precision === "float32" ? new Float32Array(length) : new Uint16Array(length);
}
