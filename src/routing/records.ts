/** @file Equal records of numbers, one for each expert of a stack: an immutable view of a buffer that grows.
 *  Views of one buffer share it, so that one more expert costs only that expert's bytes. */

import { elements, type HostTensor } from "../base/tensor.ts";

/** The buffer that views share. `used` counts the records that some view can see. */
interface Store {
  readonly data: Float32Array;
  used: number;
}

// Records that are not used yet take addresses but no memory: the system gives a page when it is first written.
const spare = (count: number) => count + Math.max(4, Math.ceil(count / 2));

export class Records {
  readonly #shape: readonly number[];
  readonly #size: number;
  readonly #store: Store;
  readonly #count: number;
  #tensor: HostTensor<"float32"> | undefined;

  private constructor(shape: readonly number[], size: number, store: Store, count: number) {
    this.#shape = shape;
    this.#size = size;
    this.#store = store;
    this.#count = count;
  }

  /** A view of `count` records, which hold zeros and which the caller fills, with room for some more. */
  static of(shape: readonly number[], count: number): { readonly records: Records; readonly record: (index: number) => Float32Array } {
    const size = elements(shape);
    const data = new Float32Array(size * spare(count));
    const record = (index: number) => data.subarray(index * size, (index + 1) * size);
    return { records: new Records(shape, size, { data, used: count }, count), record };
  }

  /** A view with one more record, which holds zeros and which the caller fills. Other views do not change. */
  with(): { readonly records: Records; readonly record: Float32Array } {
    const [start, end] = [this.#count * this.#size, (this.#count + 1) * this.#size];
    const isFree = this.#store.used === this.#count && end <= this.#store.data.length;
    const store = isFree ? this.#store : this.#copied(spare(this.#count + 1));
    store.used = this.#count + 1;
    return { records: new Records(this.#shape, this.#size, store, store.used), record: store.data.subarray(start, end) };
  }

  /** A view without one record. If it is the last one, it is only hidden; otherwise the others are copied. */
  without(index: number): Records {
    const left = this.#count - 1;
    if (index === left) return new Records(this.#shape, this.#size, this.#store, left);
    const data = new Float32Array(spare(left) * this.#size);
    const at = index * this.#size;
    data.set(this.#seen.subarray(0, at));
    data.set(this.#seen.subarray(at + this.#size), at);
    return new Records(this.#shape, this.#size, { data, used: left }, left);
  }

  /** All records: [count, ...shape]. One value for a view, so that an engine wraps it once. */
  get tensor(): HostTensor<"float32"> {
    this.#tensor ??= { dtype: "float32", shape: [this.#count, ...this.#shape], data: this.#seen };
    return this.#tensor;
  }
  get #seen(): Float32Array {
    return this.#store.data.subarray(0, this.#count * this.#size);
  }
  #copied(room: number): Store {
    const data = new Float32Array(room * this.#size);
    data.set(this.#seen);
    return { data, used: this.#count };
  }
}
