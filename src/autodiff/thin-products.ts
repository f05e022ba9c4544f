/** @file Joins thin products. One size of a LoRA product is the rank. At rank 16 such a product takes as long as reading and writing its
 *  large operand, so a larger rank costs almost nothing. The products of several modules with one input are therefore joined:
 *
 *      G_1 A_1 + G_2 A_2 + ...          = [G_1 G_2 ...] [A_1; A_2; ...]       contributions to one input's gradient
 *      G_1ᵀ x, G_2ᵀ x, ...              = the rows of [G_1 G_2 ...]ᵀ x        gradients of the modules' A
 *
 *  with G_i [tokens, rank] and A_i [rank, in]. The replaced nodes have no user left, so they are not serialized. */

import { add } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { concat, split } from "../graph/ops/movement.ts";
import type { Float, Node } from "../graph/value.ts";

const THIN = 64; // above this size, arithmetic takes longer than memory traffic

/** The sum of these values; thin products among them are joined into one. */
export function sumOf(values: readonly Float[]): Float {
  const { groups, others } = thinProducts(values, { transA: false }, ({ left }) => String(left.shape.slice(0, -1)));
  const joined = groups.map((group) => (group.length === 1 ? group[0]!.value : product(lefts(group), rights(group), group[0]!)));
  return [...others, ...joined].reduce((a, b) => add(a, b));
}

/** The same values. Thin products with the same right operand become slices of one product. */
export function sharedProducts(values: readonly Float[]): Float[] {
  const { groups } = thinProducts(values, { transA: true }, ({ right }) => right.name);
  const replaced = new Map<Float, Float>();
  for (const group of groups.filter(({ length }) => length > 1)) {
    const rows = split(product(lefts(group), group[0]!.right, group[0]!), 0, group.map(widthOf));
    group.forEach(({ value }, i) => {
      replaced.set(value, rows[i]!);
    });
  }
  return values.map((value) => replaced.get(value) ?? value);
}

interface Product {
  readonly value: Float;
  readonly left: Float;
  readonly right: Float;
  readonly transA: boolean;
  readonly alpha: number;
}

const product = (left: Float, right: Float, { transA, alpha }: Product) => matmul(left, right, { transA, alpha });
const widthOf = ({ left }: Product) => left.shape.at(-1) as number;

function lefts(products: readonly Product[]): Float {
  const each = products.map(({ left }) => left);
  return concat(each, -1);
}
function rights(products: readonly Product[]): Float {
  const each = products.map(({ right }) => right);
  return concat(each, 0);
}

/** Groups of thin products whose right operand is a matrix and that agree in key and factor; and all other values. */
function thinProducts(values: readonly Float[], { transA }: Pick<Product, "transA">, keyOf: (product: Product) => string) {
  const groups = new Map<string, Product[]>();
  const others: Float[] = [];
  for (const value of values) {
    const made = productOf(value);
    if (made && made.transA === transA && isThin(made)) {
      const key = `${keyOf(made)} ${made.alpha}`;
      groups.set(key, [...(groups.get(key) ?? []), made]);
    } else others.push(value);
  }
  return { groups: [...groups.values()], others };
}

function productOf(value: Float): Product | undefined {
  const node = value.graph.producer(value) as Node<"MatMul"> | undefined;
  if (node?.op !== "MatMul" || node.attributes.transB) return undefined;
  const [left, right] = node.inputs as [Float, Float];
  const matrices = right.shape.length === 2 && (left.shape.length === 2 || !node.attributes.transA);
  return matrices ? { value, left, right, ...node.attributes } : undefined;
}

function isThin({ left }: Product): boolean {
  const width = left.shape.at(-1);
  return typeof width === "number" && width <= THIN;
}
