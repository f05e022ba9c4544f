/** @file Routing in float64, by the papers' equations, for the Llama of llama.ts. */

import { dot, type Project, plus, type Rows, scaledBy, softmax, times, type Vector } from "./llama.ts";

/** An expert at one module: its LoRA, its gate, its mean activation. */
export interface Known {
  readonly a: Rows;
  readonly b: Rows;
  readonly scaling: number;
  readonly gate: Vector;
  readonly mean: Vector;
}
/** Module -> the data of each expert there. */
export type Experts = readonly ReadonlyMap<string, Known>[];

/** The weight of each expert for one token. */
export type Weigh = (u: Vector, module: string) => Vector;

/** The softmax over the k best scores, 0 elsewhere. */
export function best(scores: Vector, k: number): number[] {
  const order = scores
    .map((_, i) => i)
    .sort((i, j) => scores[j]! - scores[i]! || i - j)
    .slice(0, k);
  const weights = softmax(order.map((i) => scores[i]!));
  return scores.map((_, i) => (order.includes(i) ? weights[order.indexOf(i)]! : 0));
}

export const lengthOf = (v: Vector) => Math.sqrt(dot(v, v));
export const unit = (v: Vector) => scaledBy(v, 1 / lengthOf(v));
export function layerNorm(v: Vector): number[] {
  const mean = v.reduce((sum, value) => sum + value, 0) / v.length;
  const centerd = v.map((value) => value - mean);
  return scaledBy(centerd, 1 / Math.sqrt(dot(centerd, centerd) / v.length + 1e-5));
}
/** v <- unit((BA)ᵀ (BA) v), this many times. */
export function iterated({ a, b }: Known, start: Vector, passes: number): Vector {
  let v = unit(start);
  for (let pass = 0; pass < passes; pass++) {
    const low = times(a, v);
    const lifted = times(b, low);
    const back = b[0]!.map((_, r) => b.reduce((sum, row, o) => sum + row[r]! * lifted[o]!, 0));
    v = unit(a[0]!.map((_, i) => a.reduce((sum, row, r) => sum + row[i]! * back[r]!, 0)));
  }
  return v;
}

/** Scores by one vector of each expert. */
export const scoring =
  (pool: Experts, score: (u: Vector, expert: Known, key: string) => number): ((u: Vector, module: string) => Vector) =>
  (u, module) =>
    pool.map((expert, z) => score(u, expert.get(module)!, `${z} ${module}`));

/** The routes of the reference's last run: module -> each token's weights of all experts. */
export const routes = new Map<string, Vector[]>();

/** Outputs mixed by each token's weights. */
export function mixing(pool: Experts, weigh: Weigh): Project {
  return (x, module, base) =>
    base(x).map((row, i) => {
      const weights = weigh(x[i]!, module);
      routes.set(module, [...(routes.get(module) ?? []), weights]);
      return pool.reduce(
        (sum, expert, z) => {
          if (weights[z] === 0) return sum;
          const { a, b, scaling } = expert.get(module)!;
          return plus(sum, times(b, times(a, x[i]!)), scaling * weights[z]!);
        },
        [...row],
      );
    });
}

export const meanRows = (x: Rows): number[] =>
  scaledBy(
    x.reduce<number[]>(
      (sum, row) => plus(sum, row),
      x[0]!.map(() => 0),
    ),
    1 / x.length,
  );
/** sum_z w_z M_z */
export const meanMatrix = (weights: Vector, matrices: readonly Rows[]): Rows =>
  matrices[0]!.map((row, i) => row.map((_, j) => weights.reduce((sum, w, z) => sum + w * matrices[z]![i]![j]!, 0)));

export function smearing(pool: Experts): Project {
  return (x, module, base) => {
    const u = layerNorm(meanRows(x));
    const known = pool.map((expert) => expert.get(module)!);
    const weights = softmax(known.map(({ gate }) => dot(layerNorm(gate), u) / Math.sqrt(u.length)));
    const [a, b] = [
      meanMatrix(
        weights,
        known.map((expert) => expert.a),
      ),
      meanMatrix(
        weights,
        known.map((expert) => expert.b),
      ),
    ];
    return base(x).map((row, i) => plus(row, times(b, times(a, x[i]!)), known[0]!.scaling));
  };
}

/** A pool's experts minus the mean factors of the general ones, which are the last two. */
export function purified(pool: Experts): Experts {
  const general = pool.slice(-2);
  return pool.slice(0, -2).map((expert) => {
    const modules = [...expert].map(([module, known]): [string, Known] => {
      const others = general.map((other) => other.get(module)!);
      const less = (factor: "a" | "b") => meanMatrix([1, -0.5, -0.5], [known[factor], others[0]![factor], others[1]![factor]]);
      return [module, { ...known, a: less("a"), b: less("b") }];
    });
    return new Map(modules);
  });
}
