/** @file The frame: title, views, the field for a key, what went wrong, and what a screen reader is told. */

import { useEffect } from "preact/hooks";
import { apiKey, canRedo, canUndo, needsKey, problem, redo, said, stop, undo, useKey, VIEWS, type View, view, world } from "./store.ts";
import { Compare } from "./views/compare.tsx";
import { Play } from "./views/play.tsx";
import { PoolView } from "./views/pool.tsx";
import { ResultsView } from "./views/results.tsx";
import { SessionView } from "./views/session.tsx";

const NAMES: Readonly<Record<View, string>> = { play: "Play", compare: "Compare", pool: "Pool", results: "Results", session: "Share" };
const BODIES: Readonly<Record<View, () => preact.JSX.Element | null>> = {
  play: Play,
  compare: Compare,
  pool: PoolView,
  results: ResultsView,
  session: SessionView,
};

export function App() {
  useEffect(() => {
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  const Body = BODIES[view.value];
  const shown = VIEWS.filter((name) => name !== "results" || world.value?.has.results);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header>
        <h1>
          <Logo /> Skein
        </h1>
        <nav aria-label="Views">
          {shown.map((name) => (
            <button key={name} type="button" aria-current={view.value === name ? "page" : undefined} onClick={() => (view.value = name)}>
              {NAMES[name]}
            </button>
          ))}
        </nav>
        <span class="history">
          <button type="button" disabled={!canUndo.value} onClick={undo} title="Ctrl+Z">
            Undo
          </button>
          <button type="button" disabled={!canRedo.value} onClick={redo} title="Ctrl+Shift+Z">
            Redo
          </button>
        </span>
      </header>
      {needsKey.value && <KeyField />}
      <p class="problem" role="alert">
        {problem.value}
      </p>
      <main id="main" tabIndex={-1}>
        <Body />
      </main>
      <div class="hidden" role="status" aria-live="polite">
        {said.value}
      </div>
      <footer>
        Skein {world.value?.version} · <a href="/docs">API</a> · Keys: arrows move between tokens and cells, Enter looks into one, Esc lets
        go, Ctrl+Enter generates, Ctrl+Z undoes.
      </footer>
    </>
  );
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <g fill="none" stroke-width="4" stroke-linecap="round">
        <path d="M3 9c8 0 9 14 26 14" stroke="var(--e0)" />
        <path d="M3 16h26" stroke="var(--e1)" />
        <path d="M3 23c8 0 9-14 26-14" stroke="var(--e2)" />
      </g>
    </svg>
  );
}

function KeyField() {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key");
    void useKey(String(key));
  };
  return (
    <form class="panel key" onSubmit={submit}>
      <label>
        API key <input name="key" type="password" autocomplete="off" required defaultValue={apiKey.value} />
      </label>
      <button type="submit">Use it</button>
      <p class="note">It stays in this tab until you close it.</p>
    </form>
  );
}

function onKey(event: KeyboardEvent): void {
  const isField = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape") stop();
  if (isField || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  if (event.shiftKey) redo();
  else undo();
}
