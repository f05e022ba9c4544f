/** @file The types of tensors: a dtype and a shape.
 *
 *  A size is a number, or a name when it is known only at run time ("batch", "sequence"). Two sizes are the same when
 *  they are the same number or the same name; "a*b" is the product of two named sizes. */

import { ShapeError } from "../base/errors.ts";

export type DType = "float32" | "int64" | "int32" | "bool" | "uint8" | "int8" | "uint4" | "float16" | "bfloat16" | "uint16";
export type Size = number | string;
export type Shape = readonly Size[];

/** "float32[batch, sequence, 64]" */
export function show(value: { dtype: DType; shape: Shape }): string {
  return `${value.dtype}[${value.shape.join(", ")}]`;
}

/** The shape two operands broadcast to (numpy's rule; a named size matches only itself or 1). */
export function broadcast(operator: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const left = a[i - rank + a.length] ?? 1;
    const right = b[i - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw new ShapeError({
      code: "shape-operands",
      what: `${operator}: shapes do not broadcast: [${a.join(", ")}] with [${b.join(", ")}].`,
      fix: "Make the sizes equal, or 1 where the other should be repeated.",
    });
  });
}

/** An axis counted from the front; negative axes count from the back. */
export function axisOf(shape: Shape, axis: number): number {
  const positive = axis < 0 ? axis + shape.length : axis;
  if (positive < 0 || positive >= shape.length) {
    throw new ShapeError({
      code: "shape-operands",
      what: `axis ${axis} is out of range for a shape of rank ${shape.length}.`,
      fix: "Count axes from 0, or from -1 at the back.",
    });
  }
  return positive;
}

/** The factors of a size: "batch*sequence*2" -> ["batch", "sequence", 2]. */
export function factorsOf(size: Size): Size[] {
  if (typeof size === "number") return [size];
  return size.split("*").map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** The product of sizes in a normal form, to compare shapes that hold the same number of elements. */
export function productOf(shape: Shape): { readonly count: number; readonly names: string } {
  let count = 1;
  const names: string[] = [];
  for (const factor of shape.flatMap(factorsOf)) {
    if (typeof factor === "number") count *= factor;
    else names.push(factor);
  }
  return { count, names: names.sort().join("*") };
}

/** The single size that several adjacent axes flatten to. */
export function flattened(shape: Shape): Size {
  const { count, names } = productOf(shape);
  if (names === "") return count;
  return count === 1 ? names : `${names}*${count}`;
}
