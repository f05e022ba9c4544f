/** @file Elementwise operators. Operands broadcast by numpy's rule; plain numbers lift to constants. */

import { float32, int64 } from "../../base/tensor.ts";
import type { OpType } from "../operators.ts";
import type { DType } from "../sizes.ts";
import type { Bool, Float, Int, Value } from "../value.ts";

type Operand = Float | number;

/** A scalar constant in the graph of `beside`. */
export function scalar(beside: Value, number: number): Float {
  return beside.graph.constant(float32([], [number]));
}
/** An int64 scalar constant in the graph of `beside`. */
export function integer(beside: Value, number: number): Int {
  return beside.graph.constant(int64([], [number]));
}

function lifted(a: Operand, b: Operand): [Float, Float] {
  if (typeof a === "number") return [scalar(b as Float, a), b as Float];
  return [a, typeof b === "number" ? scalar(a, b) : b];
}
function binary(op: "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min"): (a: Operand, b: Operand) => Float {
  return (a, b) => {
    const operands = lifted(a, b);
    return operands[0].graph.apply(op, operands, {})[0] as Float;
  };
}
export const add = binary("Add");
export const sub = binary("Sub");
export const mul = binary("Mul");
export const div = binary("Div");
export const max = binary("Max");
export const min = binary("Min");

type PlainUnary = "Neg" | "Abs" | "Sign" | "Sqrt" | "Exp" | "Log" | "Sin" | "Cos" | "Tanh" | "Sigmoid" | "Erf" | "Relu" | "FastGelu";
function unary(op: PlainUnary): (x: Float) => Float {
  return (x) => x.graph.apply(op, [x], {})[0] as Float;
}
export const neg = unary("Neg");
export const abs = unary("Abs");
export const sign = unary("Sign");
export const sqrt = unary("Sqrt");
export const exp = unary("Exp");
export const log = unary("Log");
export const sin = unary("Sin");
export const cos = unary("Cos");
export const tanh = unary("Tanh");
export const sigmoid = unary("Sigmoid");
export const erf = unary("Erf");
export const relu = unary("Relu");
/** The tanh form of GELU: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). */
export const geluTanh = unary("FastGelu");

/** x sigmoid(x) (Elfwing et al. 2017). */
export function silu(x: Float): Float {
  return x.graph.apply("QuickGelu", [x], { alpha: 1 })[0] as Float;
}
/** x sigmoid(1.702 x). */
export function quickGelu(x: Float): Float {
  return x.graph.apply("QuickGelu", [x], { alpha: 1.702 })[0] as Float;
}
/** The exact GELU: x Phi(x) (Hendrycks and Gimpel 2016). */
export function gelu(x: Float): Float {
  return mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1));
}
export function square(x: Float): Float {
  return mul(x, x);
}

/** Integer arithmetic, for positions and buckets. */
function integerBinary(op: "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min"): (a: Int, b: Int | number) => Int {
  return (a, b) => a.graph.apply(op, [a, typeof b === "number" ? integer(a, b) : b], {})[0] as Int;
}
export const addInt = integerBinary("Add");
export const subInt = integerBinary("Sub");
export const mulInt = integerBinary("Mul");
/** Integer division, rounding towards zero. */
export const divInt = integerBinary("Div");
export const maxInt = integerBinary("Max");
export const minInt = integerBinary("Min");

type Comparable = Value<"float32"> | Value<"int64">;
function comparison(op: "Equal" | "Less" | "LessOrEqual"): (a: Comparable, b: Comparable | number) => Bool {
  return (a, b) => {
    const right = typeof b === "number" ? (a.dtype === "int64" ? integer(a, b) : scalar(a, b)) : b;
    return a.graph.apply(op, [a, right], {})[0] as Bool;
  };
}
export const equal = comparison("Equal");
export const less = comparison("Less");
export const lessOrEqual = comparison("LessOrEqual");

function logical(op: "And" | "Or"): (a: Bool, b: Bool) => Bool {
  return (a, b) => a.graph.apply(op, [a, b], {})[0] as Bool;
}
export const and = logical("And");
export const or = logical("Or");
export function not(a: Bool): Bool {
  return a.graph.apply("Not", [a], {})[0] as Bool;
}

/** `condition ? a : b`, elementwise. */
export function where(condition: Bool, a: Operand, b: Operand): Float {
  const lift = (operand: Operand) => (typeof operand === "number" ? scalar(condition, operand) : operand);
  return condition.graph.apply("Where", [condition, lift(a), lift(b)], {})[0] as Float;
}
export function whereInt(condition: Bool, a: Int | number, b: Int | number): Int {
  const lift = (operand: Int | number) => (typeof operand === "number" ? integer(condition, operand) : operand);
  return condition.graph.apply("Where", [condition, lift(a), lift(b)], {})[0] as Int;
}

export function cast<D extends DType>(x: Value, to: D): Value<D> {
  if (x.dtype === to) return x as Value<D>;
  return x.graph.apply("Cast" as OpType & "Cast", [x], { to })[0] as Value<D>;
}
export function toFloat(x: Value): Float {
  return cast(x, "float32");
}
