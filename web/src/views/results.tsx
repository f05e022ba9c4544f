/** @file An evaluation: methods and tasks, the items that one method got wrong and another right, and from an item to its trace. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Results, Sample } from "../backend.ts";
import { methodChoices } from "../methods.ts";
import { backend, fail, prompt, settings, start, view, world } from "../store.ts";
import { Scroll } from "./scroll.tsx";

const results = signal<Results | undefined>(undefined);
const task = signal("");
const wrong = signal("");
const right = signal("");
const items = signal<{ readonly key: string; readonly total: number; readonly items: readonly Sample[] } | undefined>(undefined);
const PAGE = 500;
const MOST = 50;

export function ResultsView() {
  useEffect(() => {
    if (!results.value) backend.value.results().then(begin, fail);
  }, []);
  const now = results.value;
  const key = `${task.value}\n${wrong.value}\n${right.value}`;
  useEffect(() => {
    if (!now || task.value === "") return;
    const methods = [...new Set([wrong.value, right.value])];
    backend.value.samples({ task: task.value, methods, from: 0, count: PAGE }).then((found) => (items.value = { key, ...found }), fail);
  }, [key, now]);
  if (!now) return <p class="note">Reading the results…</p>;
  return (
    <div class="results">
      <Overview results={now} />
      <section class="panel" aria-label="Items">
        <h2>Items</h2>
        <div class="row">
          <Pick label="Task" value={task.value} all={now.tasks.map(({ name }) => name)} onChange={(value) => (task.value = value)} />
          <Pick
            label="Wrong under"
            value={wrong.value}
            all={now.methods.map(({ name }) => name)}
            onChange={(value) => (wrong.value = value)}
          />
          <Pick
            label="right under"
            value={right.value}
            all={now.methods.map(({ name }) => name)}
            onChange={(value) => (right.value = value)}
          />
        </div>
        {items.value?.key === key ? <Items found={items.value.items} total={items.value.total} /> : <p class="note">Reading the items…</p>}
      </section>
    </div>
  );
}

function begin(found: Results): void {
  results.value = found;
  const names = found.methods.map(({ name }) => name);
  task.value = found.tasks[0]?.name ?? "";
  wrong.value = names.includes("base") ? "base" : (names[0] ?? "");
  right.value = names.includes("phatgoose") ? "phatgoose" : (names.at(-1) ?? "");
}

function Pick({
  label,
  value,
  all,
  onChange,
}: {
  label: string;
  value: string;
  all: readonly string[];
  onChange: (value: string) => void;
}) {
  return (
    <label>
      {label}{" "}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {all.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

/** Scores in per cent; a cell leads to the task's items that this method got wrong. */
function Overview({ results: { tasks, methods, date } }: { readonly results: Results }) {
  const score = (method: Results["methods"][number], name: string) => method.tasks[name]?.score?.value;
  return (
    <section class="panel" aria-label="Scores">
      <h2>Scores, in per cent{date ? `, ${date.slice(0, 10)}` : ""}</h2>
      <Scroll label="Table of scores" isTall>
        <table class="scores">
          <thead>
            <tr>
              <th scope="col">task</th>
              {methods.map(({ name }) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {tasks.map(({ name }) => {
              const best = Math.max(...methods.map((method) => score(method, name) ?? Number.NEGATIVE_INFINITY));
              return (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  {methods.map((method) => {
                    const value = score(method, name);
                    const choose = () => {
                      task.value = name;
                      wrong.value = method.name;
                    };
                    return (
                      <td key={method.name} class="number">
                        {value !== undefined && (
                          <button
                            type="button"
                            class={value === best ? "link best" : "link"}
                            onClick={choose}
                            aria-label={`${name}, ${method.name}: ${(100 * value).toFixed(1)}. Items that it got wrong.`}
                          >
                            {(100 * value).toFixed(1)}
                          </button>
                        )}
                      </td>
                    );
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Items({ found, total }: { readonly found: readonly Sample[]; readonly total: number }) {
  const [bad, good] = [wrong.value, right.value];
  const isRight = (sample: Sample, method: string) => (sample.answers[method]?.score ?? 0) >= 1;
  const chosen = found.filter((sample) => !isRight(sample, bad) && (bad === good || isRight(sample, good)));
  return (
    <>
      <p>
        {chosen.length} of {found.length}
        {found.length < total ? ` (of ${total})` : ""} items: wrong under {bad}
        {bad === good ? "" : `, right under ${good}`}.{chosen.length > MOST ? ` The first ${MOST}:` : ""}
      </p>
      <ul class="items">
        {chosen.slice(0, MOST).map((sample) => (
          <li key={sample.id}>
            <p>
              <b>{sample.id}</b> <code>{sample.input}</code>
            </p>
            <dl>
              <dt>expected</dt>
              <dd>{sample.target}</dd>
              {[...new Set([bad, good])].map((method) => [
                <dt key={method}>{method}</dt>,
                <dd key={`${method} text`} class={isRight(sample, method) ? "right" : "wrong"}>
                  {isRight(sample, method) ? "✓ " : "✗ "}
                  {sample.answers[method]?.text ?? "no answer"}
                </dd>,
              ])}
            </dl>
            <div class="row">
              {[...new Set([bad, good])].map((method) => (
                <TraceButton key={method} sample={sample} method={method} />
              ))}
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}

/** Shows the item under a method, where this server can answer with it. */
function TraceButton({ sample, method }: { readonly sample: Sample; readonly method: string }) {
  const known = world.value;
  if (!known) return null;
  const { routed, alone } = methodChoices(known);
  const own =
    [...routed, ...alone].find((name) => name === method || name === `expert ${method}`) ??
    (routed.includes(method.split(":")[0]!) ? method : undefined);
  if (own === undefined) return <span class="note">{method} cannot be run here</span>;
  const show = () => {
    prompt.value = sample.input;
    settings.value = { ...settings.value, method: own, off: [], pins: [], temperature: 0 };
    view.value = "play";
    void start();
  };
  return (
    <button type="button" class="small" onClick={show}>
      trace with {method}
    </button>
  );
}
