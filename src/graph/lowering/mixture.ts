/** @file The mixture of experts in plain operators, in two ways that give the same numbers up to rounding:
 *
 *      y = sum_j w_j (f(x A_jᵀ + a_j) B_j + b_j)      over the k experts j of a row
 *
 *      masked   all experts in two products; what a row's expert did not choose is multiplied by 0. Time grows with the number of experts.
 *      sorted   the rows x k slots, put into blocks of one expert each:
 *
 *                   slots of expert e        n_e = how many rows chose e
 *                   its blocks               ceil(n_e / s), each of s places; the end of its places is s times the running sum of blocks
 *                   a slot's place           the end of its expert's places, less how many of the expert's slots come before or at it
 *
 *               Rows and matrices are gathered for each block, multiplied, and each row gathers its k results. Places of a block that no
 *               slot takes hold row 0; nobody reads their results. The last place of a block is always taken, so its slot names the expert.
 *               Time grows with rows and k, and hardly with the number of experts.
 *
 *  A block of s places costs its matrices, which are copied, and the products of s rows. With n slots an expert there are about
 *  E (n / s + 1 / 2) blocks, which are cheapest at an s in proportion to sqrt(n). One row's experts differ, so n does not count one of the rows:
 *
 *                   s = max(1, floor(sqrt(BALANCE n)) - 1),   n = (rows - 1) k / E */

import type { OpAttributes } from "../operators.ts";
import {
  add,
  addInt,
  cast,
  div,
  divInt,
  equal,
  geluTanh,
  integer,
  maxInt,
  mul,
  mulInt,
  relu,
  scalar,
  silu,
  sqrt,
  subInt,
  toFloat,
} from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import {
  concat,
  expand,
  gather,
  gatherElements,
  integers,
  range,
  reshape,
  scatterAddElements,
  sizeOf,
  unsqueeze,
} from "../ops/movement.ts";
import { cumulativeSum } from "../ops/reduce.ts";
import { flattened, type Size } from "../sizes.ts";
import type { Float, Graph, Int, Value } from "../value.ts";

export type Mixture = "masked" | "sorted";

interface Experts {
  /** [rows, in] */
  readonly x: Float;
  /** int64 [rows, k] */
  readonly chosen: Int;
  /** [rows, k] */
  readonly weights: Float;
  /** [E, r, in], here and in b perhaps in 16 bits, which are widened where they are used */
  readonly a: Value;
  readonly aBias: Float | undefined;
  /** [E, r, out] */
  readonly b: Value;
  readonly bBias: Float | undefined;
  readonly activated: (low: Float) => Float;
}

const ACTIVATIONS = { relu, gelu: geluTanh, silu } as const;

/** About twice the cost of copying an expert's matrices over that of one row's products with them, on two cores. */
const BALANCE = 20;

/** The mixture that the operands of a Mixture node compute: [rows, out]. */
export function mixtureOf(mixture: Mixture, operands: readonly (Value | undefined)[], { activation }: OpAttributes["Mixture"]): Float {
  const [x, chosen, weights, a, aBias, b, bBias] = operands as [Float, Int, Float, Value, Float | undefined, Value, Float | undefined];
  const experts: Experts = { x, chosen, weights, a, aBias, b, bBias, activated: activation ? ACTIVATIONS[activation] : (low) => low };
  return mixture === "masked" ? masked(experts) : sorted(experts);
}

function masked({ x, chosen, weights, a, aBias, b, bBias, activated }: Experts): Float {
  const [rows, [experts, rank, inputs], out] = [x.shape[0]!, a.shape, b.shape[2]!];
  const all = flattened([experts!, rank!]);
  const mask = scatterAddElements(expand(scalar(x, 0), rows, experts!), chosen, weights);
  const low = matmul(x, toFloat(reshape(a, all, inputs!)), { transB: true });
  const hidden = activated(aBias ? add(low, reshape(aBias, all)) : low);
  const kept = reshape(mul(reshape(hidden, rows, experts!, rank!), unsqueeze(mask, -1)), rows, all);
  const sum = matmul(kept, toFloat(reshape(b, all, out)));
  return bBias ? add(sum, matmul(mask, bBias)) : sum;
}

function sorted({ x, chosen, weights, a, aBias, b, bBias, activated }: Experts): Float {
  const [rows, out] = [x.shape[0]!, b.shape[2]!];
  const { expertAt, rowAt, placeOf, places } = blocksOf(chosen, a.shape[0]!);
  const factor = (stack: Value) => toFloat(gather(stack, expertAt));
  const low = matmul(gather(x, rowAt), factor(a), { transB: true }); // [blocks, places of a block, r]
  const hidden = activated(aBias ? add(low, unsqueeze(factor(aBias), 1)) : low);
  const up = matmul(hidden, factor(b));
  const each = gather(reshape(bBias ? add(up, unsqueeze(factor(bBias), 1)) : up, places, out), placeOf); // [rows, k, out]
  return reshape(matmul(unsqueeze(weights, 1), each), rows, out);
}

interface Blocks {
  /** The expert of each block, int64 [blocks]. */
  readonly expertAt: Int;
  /** The row at each place of each block, int64 [blocks, places of a block]. */
  readonly rowAt: Int;
  /** The place of each row's k slots among those of all blocks, int64 [rows, k]. */
  readonly placeOf: Int;
  /** The number of places of all blocks. */
  readonly places: Size;
}

/** chosen: int64 [rows, k] of `experts` experts. What depends only on rows is one value for all modules. */
function blocksOf(chosen: Int, experts: Size): Blocks {
  const { graph } = chosen;
  const [rows, k] = chosen.shape as [Size, number];
  const slots = flattened([rows, k]);
  const [blocks, place] = [`blocks of ${chosen.name}`, "place"];
  const places = flattened([blocks, place]);
  const size = placesOfBlock(graph, rows, k, experts);

  const column = reshape(chosen, slots, 1);
  const upTo = cumulativeSum(cast(equal(column, range(graph, experts)), "int64"), 0); // how many slots up to each took each expert
  const blocksOfExpert = divInt(addInt(gather(upTo, integers(graph, [-1])), addInt(size, -1)), size);
  const ends = mulInt(reshape(cumulativeSum(blocksOfExpert, 1), experts), size);
  const expertOf = reshape(chosen, slots);
  const placeOf = subInt(gather(ends, expertOf), reshape(gatherElements(upTo, column), slots));

  const none = graph.apply("Expand", [integers(graph, [0]), gather(ends, integers(graph, [-1]))], { shape: [places] })[0] as Int;
  const numbers = range(graph, slots);
  const taken = graph.apply("ScatterElements", [none, placeOf, numbers], { axis: 0 })[0] as Int;
  const shape = concat([integers(graph, [-1]), size], 0);
  const slotAt = graph.apply("Reshape", [taken, shape], { shape: [blocks, place] })[0] as Int;
  return {
    expertAt: gather(expertOf, gather(slotAt, integer(chosen, -1), 1)),
    rowAt: gather(divInt(numbers, k), slotAt),
    placeOf: reshape(placeOf, rows, k),
    places,
  };
}

/** The number of places of a block, int64 [1]. */
function placesOfBlock(graph: Graph, rows: Size, k: number, experts: Size): Int {
  const shared = div(mul(toFloat(addInt(sizeOf(graph, rows), -1)), BALANCE * k), toFloat(sizeOf(graph, experts)));
  return maxInt(addInt(cast(sqrt(shared), "int64"), -1), 1);
}
