/** @file Which expert knows a text: the pool's experts by their share of the routing, by the loss of the text with each alone, and by retrieval. */

import { signal } from "@preact/signals";
import type { Probe } from "../backend.ts";
import { fillClass } from "../marks.ts";
import { backend, fail, problem, said } from "../store.ts";
import { Scroll } from "./scroll.tsx";
import { percent } from "./token-panel.tsx";

const found = signal<Probe | undefined>(undefined);
const isBusy = signal(false);

/** `names`: the pool's experts, in the order of their marks. */
export function ProbePanel({ names }: { readonly names: readonly string[] }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    void ask(String(fields.get("text")), String(fields.get("answer")));
  };
  return (
    <section class="panel probe" aria-label="Which expert knows this?">
      <h2>Which expert knows this?</h2>
      <form onSubmit={submit}>
        <label class="field">
          Text <textarea name="text" rows={2} required />
        </label>
        <label class="field">
          Its answer, if it has one <input name="answer" />
        </label>
        <button type="submit" disabled={isBusy.value}>
          {isBusy.value ? "Ranking…" : "Rank the experts"}
        </button>
      </form>
      {found.value && <Ranking probe={found.value} names={names} />}
    </section>
  );
}

async function ask(text: string, answer: string): Promise<void> {
  problem.value = undefined;
  isBusy.value = true;
  try {
    found.value = await backend.value.probe({ text, ...(answer !== "" && { answer }) });
    const [first] = ranked(found.value);
    said.value = `${first?.name} has the largest share of the routing: ${percent(first?.share ?? 0)}.`;
  } catch (error) {
    fail(error);
  } finally {
    isBusy.value = false;
  }
}

const ranked = ({ experts }: Probe) => [...experts].sort((a, b) => b.share - a.share);

function Ranking({ probe, names }: { readonly probe: Probe; readonly names: readonly string[] }) {
  const { router, text, baseLoss, experts, notes } = probe;
  const losses = experts.flatMap(({ loss }) => loss ?? []);
  const near = experts.flatMap(({ similarity }) => similarity ?? []);
  const [least, nearest] = [Math.min(...losses), Math.max(...near)];
  return (
    <>
      <p class="note">
        For “{text.slice(0, 80)}”. ★: the first of its column. Share: of the routing weight under {router}.
        {losses.length > 0 &&
          ` Loss: nats per token with this expert alone${baseLoss === undefined ? "" : `; the base has ${baseLoss.toFixed(3)}`}.`}
        {near.length > 0 && " Retrieval: cosine with the expert's nearest example."} {notes.join(" ")}
      </p>
      <Scroll label="Experts by what they know">
        <table class="ranking">
          <thead>
            <tr>
              <th scope="col">expert</th>
              <th scope="col">share</th>
              {losses.length > 0 && <th scope="col">loss</th>}
              {near.length > 0 && <th scope="col">retrieval</th>}
            </tr>
          </thead>
          <tbody>
            {ranked(probe).map(({ name, share, loss, similarity }, i) => (
              <tr key={name}>
                <th scope="row">
                  <span class={fillClass(names.indexOf(name))} aria-hidden="true" /> {name}
                </th>
                <Cell text={percent(share)} isFirst={i === 0} />
                {losses.length > 0 && <Cell text={loss?.toFixed(3)} isFirst={loss === least} />}
                {near.length > 0 && <Cell text={similarity?.toFixed(3)} isFirst={similarity === nearest} />}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </>
  );
}

function Cell({ text, isFirst }: { readonly text: string | undefined; readonly isFirst: boolean }) {
  return (
    <td class="number">
      {isFirst && <span title="first of its column">★ </span>}
      {text}
    </td>
  );
}
