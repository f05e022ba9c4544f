/** @file Tables over a whole pool: the load of its experts by layer, and how alike they are. */

import { byLayer } from "../../../src/evaluation/report/modules.ts";
import type { Pool } from "../backend.ts";
import { fillClass } from "../marks.ts";
import { methodName } from "../methods.ts";
import { evenness, hasCollapsed, loadOf, type Run } from "../run.ts";
import { Scroll } from "./scroll.tsx";
import { percent } from "./token-panel.tsx";

/** Each layer's load on each expert, and whether routing has collapsed onto few. */
export function Load({ run: { tokens, experts, modules, prompt, settings } }: { readonly run: Run }) {
  const all = loadOf(tokens, experts.length);
  const top = all.indexOf(Math.max(...all));
  return (
    <section class="panel" aria-label="Load of experts">
      <h2>
        Load of “{prompt.slice(0, 40)}”, {methodName(settings.method)}
      </h2>
      {hasCollapsed(all, tokens.length) && (
        <p class="warning" role="note">
          Routing has collapsed: {experts[top]} has {percent(all[top]!)} of the weight. Compare with another method, or a higher routing
          temperature.
        </p>
      )}
      <Scroll label="Load by layer">
        <table class="load">
          <thead>
            <tr>
              <th scope="col">layer</th>
              {experts.map((name) => (
                <th key={name} scope="col">
                  <span>{name}</span>
                </th>
              ))}
              <th scope="col">evenness</th>
            </tr>
          </thead>
          <tbody>
            <LoadRow name="all" load={all} />
            {byLayer(modules).map(({ layer, modules: own }) => {
              const each = own.map((module) => loadOf(tokens, experts.length, modules.indexOf(module)));
              return (
                <LoadRow key={layer} name={layer} load={experts.map((_, e) => each.reduce((sum, one) => sum + one[e]!, 0) / each.length)} />
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function LoadRow({ name, load }: { readonly name: string; readonly load: readonly number[] }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      {load.map((share, expert) => (
        <td key={`${expert}`}>
          <span class="column">
            <span class={fillClass(expert)} style={{ height: `${Math.round((100 * share) / Math.max(...load))}%` }} />
          </span>
          {Math.round(100 * share)}
        </td>
      ))}
      <td class="number">{evenness(load).toFixed(2)}</td>
    </tr>
  );
}

export function Similarity({ pool: { experts, similarity, comparedBy } }: { readonly pool: Pool }) {
  if (comparedBy === "nothing" || experts.length < 2) return null;
  return (
    <section class="panel" aria-label="Similarity of experts">
      <h2>Similarity</h2>
      <p class="note">Cosine of the experts' {comparedBy === "gates" ? "gates" : "updates"}: 1 for alike, 0 for unrelated.</p>
      <Scroll label="Table of similarity">
        <table class="similar">
          <thead>
            <tr>
              <td />
              {experts.map(({ name }) => (
                <th key={name} scope="col">
                  <span>{name}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {experts.map(({ name }, i) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {similarity[i]!.map((value, j) => (
                  <td key={`${j}`} style={{ "--w": i === j ? "0" : Math.max(0, value ?? 0).toFixed(2) }}>
                    {i === j ? "" : value === null ? "–" : value.toFixed(2)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}
