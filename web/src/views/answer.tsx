/** @file The answer as it streams: each token in its main expert's mark, and what it cost. One token can be chosen by click or keys. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { changedTokens, type Difference } from "../differences.ts";
import { markProps, shortNames } from "../marks.ts";
import { answerText, mainOf, type Run, type Token, visible } from "../run.ts";
import { before, said, selected } from "../store.ts";
import { Legend } from "./legend.tsx";

type Labels = "changes" | "all" | "none";
const labels = signal<Labels>("changes");
const showsChanges = signal(true);

export function Answer({ run }: { readonly run: Run }) {
  const earlier = before.value;
  const difference = showsChanges.value && earlier && run.status !== "running" ? changedTokens(earlier, run) : undefined;
  useSpoken(run);
  return (
    <section class="panel answer" aria-label="Answer">
      <div class="row between">
        <h2>Answer</h2>
        <label>
          Letters{" "}
          <select value={labels.value} onChange={(event) => (labels.value = event.currentTarget.value as Labels)}>
            <option value="changes">where the expert changes</option>
            <option value="all">at every token</option>
            <option value="none">nowhere</option>
          </select>
        </label>
      </div>
      <TokenList run={run} difference={difference} />
      <Legend run={run} />
      <Facts run={run} />
      {earlier && run.status !== "running" && (
        <p class="note changes">
          <label class="check">
            <input type="checkbox" checked={showsChanges.value} onChange={(event) => (showsChanges.value = event.currentTarget.checked)} />{" "}
            mark changes
          </label>{" "}
          {difference && `Against the answer before: ${difference.text}`}
        </p>
      )}
    </section>
  );
}

export function TokenList({
  run,
  difference,
  isQuiet = false,
}: {
  readonly run: Run;
  readonly difference?: Difference | undefined;
  readonly isQuiet?: boolean;
}) {
  const list = useRef<HTMLDivElement>(null);
  const at = selected.value?.part === "answer" && !isQuiet ? selected.value.token : undefined;
  const letters = shortNames(run.experts);
  const mains = run.tokens.map(mainOf);
  const move = (event: KeyboardEvent) => {
    const own = Number((event.target as HTMLElement).dataset.token);
    const last = run.tokens.length - 1;
    const goals: Record<string, number> = {
      ArrowRight: own + 1,
      ArrowLeft: own - 1,
      Home: 0,
      End: last,
      ArrowDown: own + 10,
      ArrowUp: own - 10,
    };
    const goal = goals[event.key];
    if (goal === undefined) {
      if (event.key === "Escape") selected.value = undefined;
      if (event.key === "Enter" || event.key === " ") choose(event, own);
      return;
    }
    event.preventDefault();
    list.current?.querySelector<HTMLElement>(`[data-token="${Math.max(0, Math.min(last, goal))}"]`)?.focus();
  };
  const choose = (event: Event, token: number) => {
    event.preventDefault();
    if (!isQuiet) selected.value = { part: "answer", token };
  };
  if (run.tokens.length === 0) {
    return (
      <p class="tokens note">
        {run.status === "running"
          ? "Reading the prompt…"
          : run.status === "done"
            ? "The answer is empty: the model ended at once."
            : "Nothing was generated."}
      </p>
    );
  }
  return (
    <div class="tokens" role="listbox" aria-label="Tokens of the answer" aria-orientation="horizontal" ref={list} onKeyDown={move}>
      {run.tokens.map((token, i) => (
        <TokenMark
          key={i}
          token={token}
          main={mains[i]}
          letters={
            labels.value === "all" || (labels.value === "changes" && mains[i]?.expert !== mains[i - 1]?.expert) ? letters : undefined
          }
          name={run.experts[mains[i]?.expert ?? -1]}
          index={i}
          isSelected={at === i}
          isFocusable={i === (at ?? 0)}
          change={difference?.tokens.get(i)}
          onChoose={(event) => choose(event, i)}
        />
      ))}
      {run.status === "running" && <span class="cursor" aria-hidden="true" />}
    </div>
  );
}

interface MarkProps {
  readonly token: Token;
  readonly main: ReturnType<typeof mainOf>;
  readonly letters: readonly string[] | undefined;
  readonly name: string | undefined;
  readonly index: number;
  readonly isSelected: boolean;
  readonly isFocusable: boolean;
  readonly change: string | undefined;
  readonly onChoose: (event: Event) => void;
}

function TokenMark({ token, main, letters, name, index, isSelected, isFocusable, change, onChoose }: MarkProps) {
  const mark = main ? markProps(main.expert, main.share) : { class: "plain", style: {} };
  const served = main ? `${name}, ${Math.round(100 * main.share)} %` : "no expert";
  const classes = `token ${mark.class}${change ? ` changed ${change}` : ""}${token.isForced ? " forced" : ""}`;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list handles keys for all of its tokens
    <span
      class={classes}
      style={mark.style}
      role="option"
      aria-selected={isSelected}
      aria-label={`${token.text.trim() || visible(token.text)}: ${served}${change ? `, ${change === "text" ? "another token" : "another expert"} than before` : ""}`}
      title={served}
      tabIndex={isFocusable ? 0 : -1}
      data-token={index}
      data-letters={main && letters?.[main.expert]}
      onClick={onChoose}
    >
      {visible(token.text)}
      {token.text.includes("\n") && <br />}
    </span>
  );
}

function Facts({ run }: { readonly run: Run }) {
  const { timing, tokens, promptTokens, modules, reason, status } = run;
  if (!timing) return <p class="facts">{status === "running" ? `${tokens.length} tokens…` : ""}</p>;
  const seconds = (timing.total - timing.first) / 1000;
  const speed = timing.tokens > 1 && seconds > 0 ? (timing.tokens - 1) / seconds : undefined;
  const active = tokens[0]
    ? tokens[0].experts.reduce((sum, chosen, m) => sum + chosen.filter((_, j) => tokens[0]!.weights[m]![j]! > 0).length, 0)
    : 0;
  const parts = [
    `${promptTokens} tokens read`,
    `${tokens.length} in the answer`,
    timing.tokens > 0 ? `first after ${Math.round(timing.first)} ms` : undefined,
    speed === undefined ? undefined : `${speed.toFixed(1)} tokens/s`,
    modules.length > 0 ? `routing: ${active} expert updates per token at ${modules.length} modules` : "not routed",
    status === "stopped" ? "stopped" : reason === "length" ? "ended at the limit" : undefined,
  ];
  return <p class="facts">{parts.filter(Boolean).join(" · ")}</p>;
}

/** Tells the answer to screen readers: in pieces of some words while it streams, then that it ended. */
function useSpoken(run: Run): void {
  const told = useRef(0);
  useEffect(() => {
    const text = answerText(run);
    if (run.status === "running") {
      if (text.length < told.current) told.current = 0;
      const fresh = text.slice(told.current);
      if (fresh.length < 60) return;
      const end = fresh.lastIndexOf(" ") + 1 || fresh.length;
      said.value = fresh.slice(0, end);
      told.current += end;
    } else if (run.timing) {
      said.value = `${text.slice(told.current)} ${run.status === "done" ? "The answer is complete" : "The answer ended early"}, ${run.tokens.length} tokens.`;
      told.current = text.length;
    }
  }, [run]);
}
