/** @file Seeded random numbers. All randomness in Skein comes from these generators, so a run can be repeated and resumed.
 *
 *  The generator is splitmix32 (Steele et al. 2014). Its whole state is one 32-bit number, which is saved with a run. */

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, bound). */
  integer(bound: number): number;
  /** Standard normal (Box and Muller 1958). */
  normal(): number;
  /** The state. `seededRandom` continues from it. */
  readonly state: number;
}

/** A generator that starts from `seed` (any integer; taken modulo 2^32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const bits = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  const next = () => bits() / 2 ** 32;
  return {
    next,
    integer: (bound) => Math.floor(next() * bound),
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    get state() {
      return state;
    },
  };
}

/** A seed derived from others (FNV-1a over their text), so that parts of a run use independent numbers. */
export function derivedSeed(...parts: readonly (number | string)[]): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(parts.join("/"))) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** A shuffled copy (Fisher and Yates 1938). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const copy = [...items];
  shuffle(copy, random);
  return copy;
}

/** The numbers from 0 to before `count`, in the order that `shuffled` gives a list of this length. */
export function shuffledNumbers(count: number, random: Random): Uint32Array {
  const numbers = new Uint32Array(count).map((_, i) => i);
  shuffle(numbers, random);
  return numbers;
}

function shuffle<T>(items: { [index: number]: T; readonly length: number }, random: Random): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}
