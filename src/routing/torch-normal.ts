/** @file The exact numbers of torch.randn with a CPU generator. PEFT's Arrow starts its power iteration from them.
 *
 *  The generator is the Mersenne Twister (Matsumoto and Nishimura 1998) with a 32-bit seed. Sixteen or more numbers are made in
 *  blocks of 16 (pytorch, aten/src/ATen/native/cpu/DistributionTemplates.h, normal_fill): uniform u of 24 bits each, then
 *      z_i = sqrt(-2 ln(1 - u_i)) cos(2 pi u_{i+8}),   z_{i+8} = ... sin(...),   i = 0..7
 *  If the count is not a multiple of 16, the last 16 numbers are made again from 16 new uniforms. */

import { invariant } from "../base/errors.ts";

const BLOCK = 16;
const WORDS = 624;

/** The first `count` (at least 16) numbers of torch.randn after manual_seed(seed), in float32. */
export function torchNormal(count: number, seed: number): Float32Array {
  invariant(count >= BLOCK, "torch makes fewer than 16 normal numbers in another way");
  const bits = mersenneTwister(seed);
  const uniform = () => (bits() & 0xffffff) / 2 ** 24;
  const numbers = Float32Array.from({ length: count }, uniform);
  for (let at = 0; at + BLOCK <= count; at += BLOCK) fillBlock(numbers.subarray(at, at + BLOCK));
  if (count % BLOCK === 0) return numbers;
  const last = numbers.subarray(count - BLOCK);
  for (let i = 0; i < BLOCK; i++) last[i] = uniform();
  fillBlock(last);
  return numbers;
}

function fillBlock(block: Float32Array): void {
  for (let i = 0; i < BLOCK / 2; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - block[i]!));
    const angle = 2 * Math.PI * block[i + BLOCK / 2]!;
    block[i] = radius * Math.cos(angle);
    block[i + BLOCK / 2] = radius * Math.sin(angle);
  }
}

/** Returns 32-bit numbers. */
function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(WORDS);
  state[0] = seed;
  for (let i = 1; i < WORDS; i++) {
    const previous = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(1812433253, previous) + i;
  }
  let index = WORDS;
  const twist = () => {
    for (let i = 0; i < WORDS; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % WORDS]! & 0x7fffffff);
      state[i] = state[(i + 397) % WORDS]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    index = 0;
  };
  return () => {
    if (index === WORDS) twist();
    let y = state[index++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}
