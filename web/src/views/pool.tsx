/** @file The pool: each expert's card, size, rank, modules, curves, what it served in this session; load by layer, with a warning. */

import { signal } from "@preact/signals";
import { byLayer } from "../../../src/evaluation/report/modules.ts";
import type { Pool } from "../backend.ts";
import { fillClass } from "../marks.ts";
import { mainOf, type Run, visible } from "../run.ts";
import { compared, pool, run, world } from "../store.ts";
import { Curves } from "./curves.tsx";
import { Load, Similarity } from "./pool-tables.tsx";
import { ProbePanel } from "./probe.tsx";
import { Scroll } from "./scroll.tsx";

const opened = signal<string | undefined>(undefined);

export function PoolView() {
  const now = pool.value;
  if (!now) {
    return (
      <section class="panel">
        <h2>The pool</h2>
        <p>This server has no pool. Start it with one: skein serve --base BASE --pool POOL.</p>
      </section>
    );
  }
  const runs = [run.value, ...compared.value].filter((one): one is Run => one !== undefined && one.modules.length > 0);
  return (
    <div class="pool">
      <section class="panel" aria-label="Experts">
        <h2>
          {now.id}: {now.experts.length} experts, routed by {now.method}
        </h2>
        <Scroll label="Table of experts">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">expert</th>
                <th scope="col">kind</th>
                <th scope="col">rank</th>
                <th scope="col">size</th>
                <th scope="col">modules</th>
                <th scope="col">brings</th>
                <th scope="col">tokens served</th>
              </tr>
            </thead>
            <tbody>
              {now.experts.map((expert, i) => (
                <tr key={expert.name}>
                  <th scope="row">
                    <button
                      type="button"
                      class="link"
                      aria-expanded={opened.value === expert.name}
                      onClick={() => (opened.value = opened.value === expert.name ? undefined : expert.name)}
                    >
                      <span class={fillClass(i)} aria-hidden="true" /> {expert.name}
                    </button>
                  </th>
                  <td>{expert.kind}</td>
                  <td class="number">{expert.ranks ? [...new Set(expert.ranks)].join(" to ") : ""}</td>
                  <td class="number">{bytes(expert.bytes)}</td>
                  <td class="number">{expert.modules.length}</td>
                  <td>{expert.brings.join(", ")}</td>
                  <td class="number">{servedTokens(runs, expert.name).length}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </section>
      {opened.value !== undefined && <Card pool={now} name={opened.value} runs={runs} />}
      {now.experts.length > 0 && world.value && <ProbePanel names={now.experts.map(({ name }) => name)} />}
      {runs.map((one, i) => (
        <Load key={`${i}`} run={one} />
      ))}
      <Similarity pool={now} />
      {now.curves.length > 0 && (
        <section class="panel" aria-label="Learning curves">
          <h2>Learning curves</h2>
          <Curves charts={now.curves} experts={now.experts.map(({ name }) => name)} />
        </section>
      )}
    </div>
  );
}

function servedTokens(runs: readonly Run[], name: string): string[] {
  return runs.flatMap(({ tokens, experts }) =>
    tokens.flatMap((token) => {
      const main = mainOf(token);
      return main && experts[main.expert] === name ? [token.text] : [];
    }),
  );
}

function Card({
  pool: { experts, similarity, curves },
  name,
  runs,
}: {
  readonly pool: Pool;
  readonly name: string;
  readonly runs: readonly Run[];
}) {
  const at = experts.findIndex((one) => one.name === name);
  const expert = experts[at];
  if (!expert) return null;
  const served = servedTokens(runs, name);
  const alike = (similarity[at] ?? [])
    .map((value, i) => ({ value, name: experts[i]!.name }))
    .filter((one): one is { value: number; name: string } => one.value !== null && one.name !== name)
    .sort((a, b) => b.value - a.value)
    .slice(0, 3);
  const own = curves
    .map((chart) => ({ ...chart, series: chart.series.filter((series) => series.name.replace(/-gates$/, "") === name) }))
    .filter(({ series }) => series.length > 0);
  return (
    <section class="panel" aria-label={`Expert ${name}`}>
      <h2>
        <span class={fillClass(at)} aria-hidden="true" /> {name}
      </h2>
      <p class="facts">
        {expert.parameters.toLocaleString("en")} parameters · {expert.root}
        {expert.sha256 ? ` · sha256 ${expert.sha256.slice(0, 12)}` : ""}
      </p>
      {alike.length > 0 && <p>Most alike: {alike.map((one) => `${one.name} ${one.value.toFixed(2)}`).join(", ")}.</p>}
      <p>
        {served.length > 0 ? `It served ${served.length} tokens most in this session: ` : "It was no token's main expert in this session."}
      </p>
      {served.length > 0 && (
        <p class="tokens">
          {served.slice(0, 200).map((text, i) => (
            <code key={`${i}`}>{visible(text)}</code>
          ))}
        </p>
      )}
      <details>
        <summary>Modules</summary>
        <ul class="plain">
          {byLayer(expert.modules).map(({ layer, modules }) => (
            <li key={layer}>
              {layer}: {modules.map((module) => module.split(".").at(-1)).join(", ")}
            </li>
          ))}
        </ul>
      </details>
      {own.length > 0 && <Curves charts={own} experts={experts.map((one) => one.name)} />}
      {expert.card !== "" && (
        <details>
          <summary>Model card</summary>
          <pre>{expert.card}</pre>
        </details>
      )}
    </section>
  );
}

function bytes(count: number): string {
  return count < 2 ** 20 ? `${(count / 1024).toFixed(0)} KB` : `${(count / 2 ** 20).toFixed(1)} MB`;
}
