/** @file The experts' marks with their names and their share of the answer. */

import { markProps, shortNames } from "../marks.ts";
import { loadOf, type Run } from "../run.ts";

export function Legend({ run, most = 24 }: { readonly run: Run; readonly most?: number }) {
  if (run.experts.length === 0 || run.modules.length === 0) return null;
  const load = loadOf(run.tokens, run.experts.length);
  const letters = shortNames(run.experts);
  const shown = run.experts.map((name, expert) => ({ name, expert })).filter(({ expert }) => load[expert]! > 0.0005);
  const sorted = shown.sort((a, b) => load[b.expert]! - load[a.expert]!).slice(0, most);
  return (
    <ul class="legend" aria-label="Experts of this answer, with their share of the weight">
      {sorted.map(({ name, expert }) => (
        <li key={name} {...markProps(expert)}>
          <b>{letters[expert]}</b> {name} {Math.round(100 * load[expert]!)} %
        </li>
      ))}
    </ul>
  );
}
