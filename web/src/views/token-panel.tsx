/** @file One token looked into: what else it could have been, and every expert at every module, those that lost too. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { byLayer, shortName } from "../../../src/evaluation/report/modules.ts";
import type { InspectedTokens } from "../backend.ts";
import { promptOf, targetOf } from "../generate.ts";
import { fillClass, markProps } from "../marks.ts";
import { mainOf, type Run, shares, visible } from "../run.ts";
import { backend, fail, said, selected, start, world } from "../store.ts";
import { Scroll } from "./scroll.tsx";

interface Looked {
  readonly run: Run;
  readonly token: number;
  readonly scores: InspectedTokens | undefined;
}
const looked = signal<Looked | undefined>(undefined);

export function TokenPanel({ run, at: { token } }: { readonly run: Run; readonly at: { readonly token: number } }) {
  const own = run.tokens[token];
  useEffect(() => {
    void lookInto(run, token);
  }, [run, token]);
  if (!own) return null;
  const scores = looked.value?.run === run && looked.value.token === token ? looked.value.scores : undefined;
  return (
    <section class="panel token-panel" aria-label="The chosen token">
      <div class="row between">
        <h2>
          Token {token + 1}: <code>{visible(own.text)}</code>
        </h2>
        <button type="button" onClick={() => (selected.value = undefined)}>
          Close
        </button>
      </div>
      <Alternatives run={run} token={token} />
      {own.experts.length > 0 ? <Served run={run} token={token} scores={scores} /> : <p class="note">No expert was routed to it.</p>}
    </section>
  );
}

async function lookInto(run: Run, token: number): Promise<void> {
  const known = world.value;
  if (!known || run.modules.length === 0) return;
  const pinned = run.settings.pins.findLast(({ from, to }) => from <= token && token < to)?.expert;
  try {
    const { answer } = await backend.value.inspect({
      ...targetOf(known, run.settings, pinned),
      prompt: promptOf(run.prompt, run.settings),
      answer: run.tokens.map(({ id }) => id),
      at: { part: "answer", token },
    });
    looked.value = { run, token, scores: answer };
  } catch (error) {
    fail(error);
  }
}

function Alternatives({ run, token }: { readonly run: Run; readonly token: number }) {
  const own = run.tokens[token]!;
  const goOn = (id: number, text: string) => {
    said.value = `Going on with ${text}.`;
    void start([...run.tokens.slice(0, token).map((one) => one.id), id]);
  };
  return (
    <>
      <h3>Likeliest tokens here</h3>
      <ol class="alternatives">
        {own.top.map(({ id, token: text, logprob }) => (
          <li key={id} aria-current={id === own.id ? "true" : undefined}>
            <code>{visible(text)}</code>
            <span class="meter" aria-hidden="true">
              <span style={{ width: `${100 * Math.exp(logprob)}%` }} />
            </span>
            <span class="number">{percent(Math.exp(logprob))}</span>
            {id === own.id ? (
              <span class="note">chosen</span>
            ) : (
              <button
                type="button"
                class="small"
                disabled={!world.value}
                onClick={() => goOn(id, text)}
                aria-label={`Continue from here with ${visible(text)}`}
              >
                continue from here
              </button>
            )}
          </li>
        ))}
      </ol>
      {!own.top.some(({ id }) => id === own.id) && own.logprob !== undefined && (
        <p class="note">
          Chosen: {visible(own.text)}, {percent(Math.exp(own.logprob))}
        </p>
      )}
    </>
  );
}

function Served({ run, token, scores }: { readonly run: Run; readonly token: number; readonly scores: InspectedTokens | undefined }) {
  const own = run.tokens[token]!;
  const total = [...shares(own)];
  const main = mainOf(own);
  return (
    <>
      <h3>Experts, all modules together</h3>
      <p class="legend">
        {total.map(([expert, share]) => (
          <span key={expert} {...markProps(expert)}>
            {run.experts[expert]} {percent(share)}
          </span>
        ))}
      </p>
      <h3>At every module</h3>
      <p class="note">
        {scores
          ? scores.scores
            ? "≠: another expert is first here than in the whole token. Grey: experts that lost, with the scores they had. Entropy is 0 where one expert takes all, 1 where all are alike."
            : "This method does not score experts token by token."
          : "Reading the scores…"}
      </p>
      <Scroll label="Experts at every module" isTall>
        <table class="modules">
          <thead>
            <tr>
              <th scope="col">module</th>
              <th scope="col">experts and weights</th>
              <th scope="col">entropy</th>
              <th scope="col">scores of the others</th>
            </tr>
          </thead>
          <tbody>
            {byLayer(run.modules).flatMap(({ layer, modules }) => [
              <tr key={layer} class="group">
                <th colSpan={4} scope="rowgroup">
                  {layer}
                </th>
              </tr>,
              ...modules.map((module) => (
                <ModuleRow key={module} run={run} module={module} token={token} scores={scores} isUsual={main?.expert} />
              )),
            ])}
          </tbody>
        </table>
      </Scroll>
    </>
  );
}

interface RowProps {
  readonly run: Run;
  readonly module: string;
  readonly token: number;
  readonly scores: InspectedTokens | undefined;
  readonly isUsual: number | undefined;
}

function ModuleRow({ run, module, token, scores, isUsual }: RowProps) {
  const m = run.modules.indexOf(module);
  const { experts, weights } = run.tokens[token]!;
  const chosen = (experts[m] ?? []).map((expert, j) => ({ expert, weight: weights[m]![j]! })).filter(({ weight }) => weight > 0);
  const at = scores?.modules.indexOf(module) ?? -1;
  const entropy = scores?.entropy[token]?.[at];
  const losers = (scores?.scores?.[at] ?? [])
    .map((score, expert) => ({ expert, score }))
    .filter(({ expert, score }) => score !== null && !chosen.some((one) => one.expert === expert))
    .sort((a, b) => b.score! - a.score!);
  return (
    <tr class={chosen[0] && chosen[0].expert !== isUsual ? "unusual" : ""}>
      <th scope="row">{shortName(module)}</th>
      <td>
        <span class="bars">
          {chosen.map(({ expert, weight }) => (
            <span
              key={expert}
              class={fillClass(expert)}
              title={`${run.experts[expert]} ${percent(weight)}`}
              style={{ width: `${Math.max(4, 100 * weight)}%` }}
            />
          ))}
        </span>
        {chosen.map(({ expert, weight }) => `${run.experts[expert]} ${percent(weight)}`).join(", ")}
      </td>
      <td class="number">{entropy?.toFixed(2) ?? ""}</td>
      <td class="losers">{losers.map(({ expert, score }) => `${run.experts[expert]} ${score!.toFixed(2)}`).join(", ")}</td>
    </tr>
  );
}

export function percent(share: number): string {
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
