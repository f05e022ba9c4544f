/** @file Sine and cosine from sums and products, exact to 5e-7 for |x| below 50,000, for devices whose own functions are less exact.
 *
 *      k = x / 2 pi, rounded;  r = x - 2 pi k, with 2 pi split into three parts so that k times each part is exact (Cody and Waite 1980)
 *      sin x = 2 sin(r / 2) cos(r / 2),  cos x = 1 - 2 sin(r / 2)^2,  with the series of sine and cosine at r / 2 */

import { add, mul, square, sub } from "../ops/elementwise.ts";
import type { Float } from "../value.ts";

/** Floats of this size have no fraction: adding and subtracting it rounds to an integer. */
const ROUNDING = 1.5 * 2 ** 23;
/** Two parts of 2 pi with 8 and 11 bits, and the rest. */
const PARTS = [6.28125, 2029 * 2 ** -20, 2 * Math.PI - 6.28125 - 2029 * 2 ** -20] as const;
/** The number of terms. The next term is below 1e-8 for |r / 2| up to pi, so k may be rounded up or down. */
const TERMS = 10;

function halfOfRemainder(x: Float): Float {
  const k = sub(add(mul(x, 1 / (2 * Math.PI)), ROUNDING), ROUNDING);
  return mul(
    PARTS.reduce((rest, part) => sub(rest, mul(k, part)), x),
    0.5,
  );
}

/** 1 - z / (a+1)(a+2) (1 - z / (a+3)(a+4) (...)), the series of sine (a = 1, over x) and cosine (a = 0) in z = x^2. */
function series(z: Float, start: 0 | 1): Float {
  let sum: Float | undefined;
  for (let term = TERMS; term >= 1; term--) {
    const factor = -1 / ((2 * term - 1 + start) * (2 * term + start));
    sum = add(mul(sum ? mul(z, sum) : z, factor), 1);
  }
  return sum!;
}

export function sineOf(x: Float): Float {
  const half = halfOfRemainder(x);
  const z = square(half);
  return mul(mul(mul(half, series(z, 1)), series(z, 0)), 2);
}

export function cosineOf(x: Float): Float {
  const half = halfOfRemainder(x);
  return sub(1, mul(square(mul(half, series(square(half), 1))), 2));
}
