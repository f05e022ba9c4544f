/** @file Finds the choice that is the target, as the PHATGOOSE authors do (`find_label` in their p3.py and bigbench.py). */

/** Index of the choice whose token ids agree with the target's in most positions; ties go to the shorter choice, then
 *  to the later index. -1 without choices. */
export function findLabel(target: readonly number[], choices: readonly (readonly number[])[]): number {
  let best = -1;
  let bestMatches = -1;
  for (const [index, choice] of choices.entries()) {
    const matches = choice.filter((id, position) => id === target[position]).length;
    const isBetter = matches > bestMatches || (matches === bestMatches && choice.length <= choices[best]!.length);
    if (!isBetter) continue;
    best = index;
    bestMatches = matches;
  }
  return best;
}
