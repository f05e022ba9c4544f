/** @file Two to four methods on one prompt, side by side: where texts differ, where other experts served. */

import type { World } from "../backend.ts";
import { changedTokens } from "../differences.ts";
import { generate } from "../generate.ts";
import { methodChoices, methodName } from "../methods.ts";
import { emptyRun, type Settings } from "../run.ts";
import { backend, compared, fail, methods, problem, prompt, said, settings, world } from "../store.ts";
import { TokenList } from "./answer.tsx";
import { Legend } from "./legend.tsx";
import { PromptForm } from "./prompt-form.tsx";

const MOST = 4;
let controller: AbortController | undefined;

export function Compare() {
  const known = world.value;
  if (!known) return null;
  const { routed, alone } = methodChoices(known);
  const all = [...routed, ...alone];
  const pick = (i: number, name: string) => (methods.value = methods.value.map((one, j) => (j === i ? name : one)));
  const free = all.find((name) => !methods.value.includes(name));
  return (
    <div class="compare">
      <PromptForm onSubmit={() => void compare()} action="Compare" />
      <section class="panel" aria-label="Methods to compare">
        <div class="row">
          {methods.value.map((method, i) => (
            <span key={`${i}`} class="row">
              <select aria-label={`Method ${i + 1}`} value={method} onChange={(event) => pick(i, event.currentTarget.value)}>
                {all.map((name) => (
                  <option key={name} value={name}>
                    {methodName(name)}
                  </option>
                ))}
              </select>
              {methods.value.length > 2 && (
                <button
                  type="button"
                  class="small"
                  aria-label={`Leave out method ${i + 1}`}
                  onClick={() => (methods.value = methods.value.filter((_, j) => j !== i))}
                >
                  ×
                </button>
              )}
            </span>
          ))}
          {methods.value.length < MOST && free !== undefined && (
            <button type="button" class="small" onClick={() => (methods.value = [...methods.value, free])}>
              add a method
            </button>
          )}
        </div>
        <p class="note">
          All use the settings of the Play view, without those that a method does not take. Marked against the first: new text in a frame,
          other experts with a dotted outline.
        </p>
      </section>
      <div class={`columns n${compared.value.length}`}>
        {compared.value.map((run, i) => {
          const first = compared.value[0]!;
          const isDone = run.status !== "running" && first.status !== "running";
          const difference = i > 0 && isDone ? changedTokens(first, run) : undefined;
          return (
            <section key={`${i}`} class="panel" aria-label={`Answer of ${methodName(run.settings.method)}`}>
              <h2>{methodName(run.settings.method)}</h2>
              <TokenList run={run} difference={difference} isQuiet />
              <Legend run={run} most={6} />
              {difference && <p class="note">Against the first: {difference.text}</p>}
              {run.timing && (
                <p class="facts">
                  {run.tokens.length} tokens in {Math.round(run.timing.total)} ms{run.modules.length === 0 ? " · not routed" : ""}
                </p>
              )}
            </section>
          );
        })}
      </div>
    </div>
  );
}

/** The settings without what their method does not take. */
function taken({ methods: known }: World, own: Settings): Settings {
  const { method } = own;
  if (method === "") return own;
  const name = method.split(":")[0]!;
  const described = known.find((one) => one.name === name || one.otherNames.includes(name));
  const has = (option: string) => described?.options.some((one) => one.name === option);
  return {
    ...own,
    off: described?.takesRows ? own.off : [],
    topK: has("topK") ? own.topK : undefined,
    routingTemperature: has("temperature") ? own.routingTemperature : undefined,
  };
}

/** Runs all methods side by side. One that fails says so and does not stop the others. */
export async function compare(): Promise<void> {
  const known = world.value;
  if (!known) return;
  controller?.abort();
  const own = new AbortController();
  controller = own;
  problem.value = undefined;
  said.value = "Comparing.";
  const chosen = methods.value;
  const settingsOf = (method: string) => taken(known, { ...settings.value, method, pins: [] });
  compared.value = chosen.map((method) => emptyRun(prompt.value, settingsOf(method)));
  await Promise.all(
    chosen.map((method, i) =>
      generate({
        backend: backend.value,
        world: known,
        prompt: prompt.value,
        settings: settingsOf(method),
        signal: own.signal,
        onRun: (run) => {
          if (controller !== own) return;
          const next = [...compared.value];
          next[i] = run;
          compared.value = next;
        },
      }).catch(
        (error: unknown) =>
          controller === own && fail(new Error(`${methodName(method)}: ${error instanceof Error ? error.message : String(error)}`)),
      ),
    ),
  );
  said.value = `${chosen.length} answers are complete.`;
}
