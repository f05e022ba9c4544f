/** @file Rotary positions (Su et al. 2021, arXiv:2104.09864): each pair of numbers (x_i, x_{i + size / 2}) of a query or
 *  key is rotated by the angle position * w_i, so that their product depends only on the distance.
 *
 *      rotated(x) = [x1 cos - x2 sin, x2 cos + x1 sin],  x = [x1, x2] halves of the first `size` numbers of a head
 *
 *  Equal values are one node of the graph, so all layers share the cosines and sines. */

import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { float32, int64 } from "../base/tensor.ts";
import { addInt, cast, cos, exp, less, log, max, mul, sin, sub, toFloat } from "../graph/ops/elementwise.ts";
import { rotaryEmbedding } from "../graph/ops/linalg.ts";
import { concat, expand, gather, range, reshape, slice, unsqueeze } from "../graph/ops/movement.ts";
import { reduceMax, reduceSum } from "../graph/ops/reduce.ts";
import { flattened, type Size } from "../graph/sizes.ts";
import type { Float, Int } from "../graph/value.ts";
import {
  inverseFrequencies,
  llama3Frequencies,
  longropeMagnitude,
  parseScaling,
  type Scaling,
  yarnFrequencies,
  yarnMagnitude,
} from "./rope-scaling.ts";

export interface Rope {
  /** The number of rotated values in each head, from the first on. */
  readonly size: number;
  /** Factor on cosines and sines. */
  readonly magnitude: number;
  /** positions: int64 [batch, sequence] -> [size / 2], or [batch or 1, 1, 1, size / 2] if they depend on the length. */
  readonly frequencies: (positions: Int) => Float;
  /** The longest sequence with the same frequencies as one of `length` tokens; only if they depend on the length. */
  readonly steadyUntil?: (length: number) => number;
}

const unparsed = z.record(z.string(), z.unknown()).nullish();

/** The fields of config.json that rotary positions read; files of transformers 5 keep them in `rope_parameters`. */
export const ropeFields = {
  rope_theta: z.number().default(10000),
  rope_scaling: unparsed,
  rope_parameters: unparsed,
  partial_rotary_factor: z.number().nullish(),
  max_position_embeddings: z.int().default(2048),
  original_max_position_embeddings: z.int().nullish(),
};
export type RopeConfig = z.infer<z.ZodObject<typeof ropeFields>>;

/** The rotary positions of a configuration, for heads of `headSize` numbers. `trained` is longrope's original length, for files
 *  that do not give it. */
export function ropeOf(config: RopeConfig, headSize: number, trained?: number): Rope {
  const settings = config.rope_parameters ?? config.rope_scaling;
  const base = z.number().parse(settings?.rope_theta ?? config.rope_theta);
  const part = z.number().parse(settings?.partial_rotary_factor ?? config.partial_rotary_factor ?? 1);
  return scaledRope(parseScaling(settings), base, Math.trunc(headSize * part), config, trained);
}

function scaledRope(scaling: Scaling, base: number, size: number, config: RopeConfig, trained?: number): Rope {
  const plain = inverseFrequencies(base, size);
  const maximum = config.max_position_embeddings;
  const fixed = (frequencies: readonly number[], magnitude = 1): Rope => ({
    size,
    magnitude,
    frequencies: ({ graph }) => graph.constant(float32([size / 2], frequencies)),
  });
  switch (scaling.kind) {
    case "default":
      return fixed(plain);
    case "linear":
      return fixed(plain.map((w) => w / scaling.factor));
    case "llama3":
      return fixed(llama3Frequencies(plain, scaling));
    case "yarn":
      return fixed(yarnFrequencies(plain, base, maximum, scaling), yarnMagnitude(scaling));
    case "dynamic":
      return {
        size,
        magnitude: 1,
        frequencies: (positions) => dynamicFrequencies(plain, maximum, scaling.factor, positions),
        steadyUntil: (length) => Math.max(length, maximum),
      };
    case "longrope": {
      const original = config.original_max_position_embeddings ?? scaling.original_max_position_embeddings ?? trained;
      const bound = original ?? maximum;
      const table = [divided(plain, scaling.short_factor), divided(plain, scaling.long_factor)];
      return {
        size,
        magnitude: longropeMagnitude(maximum, original, scaling),
        frequencies: (positions) => frequenciesByLength(table, [bound], lengthOf(positions, "batch")),
        steadyUntil: steadyBetween([bound]),
      };
    }
  }
}

/** One factor for each frequency; a different number of factors is an error. */
function divided(frequencies: readonly number[], factors: readonly number[]): number[] {
  if (factors.length === frequencies.length) return frequencies.map((w, i) => w / factors[i]!);
  throw new CheckpointError({
    code: "checkpoint-bad-config",
    what: `The scaling "longrope" has ${factors.length} factors; a head of this model turns with ${frequencies.length} frequencies.`,
    where: "config.json: rope_scaling",
    fix: "Compare the file with the published checkpoint's.",
  });
}

/** Largest position plus one, of each row [batch, 1] or of the whole batch [1, 1]. */
export function lengthOf(positions: Int, of: "row" | "batch"): Int {
  return addInt(cast(reduceMax(toFloat(positions), { axes: of === "row" ? [1] : [0, 1] }), "int64"), 1);
}

/** The row of `table` for `length`: row i if `length` exceeds i of the ascending `bounds`. -> [.., 1, 1, size / 2] */
export function frequenciesByLength(table: readonly (readonly number[])[], bounds: readonly number[], length: Int): Float {
  const { graph } = length;
  const exceeded = less(graph.constant(int64([bounds.length], [...bounds])), length);
  const row = cast(reduceSum(toFloat(exceeded)), "int64");
  const width = table[0]!.length;
  return unsqueeze(gather(graph.constant(float32([table.length, width], table.flat())), row), 1);
}

/** The first of the ascending `bounds` that is at least `length`. */
export function steadyBetween(bounds: readonly number[]): (length: number) => number {
  return (length) => bounds.find((bound) => length <= bound) ?? Number.POSITIVE_INFINITY;
}

/** base^(-2i / size) s^(-2i / (size - 2)), s = max(factor length / maximum - (factor - 1), 1). -> [1, 1, 1, size / 2] */
function dynamicFrequencies(plain: readonly number[], maximum: number, factor: number, positions: Int): Float {
  const { graph } = positions;
  const length = max(toFloat(lengthOf(positions, "batch")), maximum);
  const stretch = sub(mul(length, factor / maximum), factor - 1);
  const half = plain.length;
  const exponents = Array.from({ length: half }, (_, i) => (-2 * i) / (2 * half - 2));
  const slowed = exp(mul(unsqueeze(log(stretch), 0, 1), graph.constant(float32([half], exponents))));
  return mul(graph.constant(float32([half], plain)), slowed);
}

/** x: [batch, heads, sequence, headSize], positions: int64 [batch or 1, sequence] -> x with its heads rotated by their positions. */
export function rotated(x: Float, positions: Int, rope: Rope): Float {
  const headSize = x.shape.at(-1) as number;
  const { rows: own, ...angles } = anglesOf(positions, rope);
  const rows = positions.shape[0] === x.shape[0] ? own : expand(own, x.shape[0]!, positions.shape[1]!);
  if (rope.size === headSize) return rotaryEmbedding(x, rows, angles);
  const [turning, still] = [slice(x, -1, 0, rope.size), slice(x, -1, rope.size, headSize)];
  return concat([rotaryEmbedding(turning, rows, angles), still], -1);
}

/** The cosines and sines of every token, [batch * sequence, size / 2], and each token's row in them: int64 [batch, sequence]. */
function anglesOf(positions: Int, { size, magnitude, frequencies }: Rope): { rows: Int; cosines: Float; sines: Float } {
  const { graph } = positions;
  const [batch, sequence] = positions.shape as [Size, Size];
  const tokens = flattened(positions.shape);
  const angles = mul(toFloat(unsqueeze(positions, 1, 3)), frequencies(positions));
  const table = (values: Float) => reshape(magnitude === 1 ? values : mul(values, magnitude), tokens, size / 2);
  return { rows: reshape(range(graph, tokens), batch, sequence), cosines: table(cos(angles)), sines: table(sin(angles)) };
}
