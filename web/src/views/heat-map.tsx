/** @file The map of tokens x modules: experts, weight, entropy or margin; rows and columns lock on a click or by keys; zoom. */

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { layerOf, shortName } from "../../../src/evaluation/report/modules.ts";
import type { Inspection } from "../backend.ts";
import { promptOf, targetOf } from "../generate.ts";
import { draw, type Frame, fullSize, HEAD, LABEL, type MapData, type Spot, spotAt } from "../heat-canvas.ts";
import { shortNames } from "../marks.ts";
import { evenness, loadOf, type Run, type TokenRoute, visible } from "../run.ts";
import { backend, fail, selected, world } from "../store.ts";
import { percent } from "./token-panel.tsx";

const SHOWN = { expert: "experts", weight: "weight of the best", entropy: "entropy", margin: "margin" } as const;
type Shown = keyof typeof SHOWN;
type Part = "answer" | "prompt";
const shown = signal<Shown>("expert");
const part = signal<Part>("answer");
const size = signal(18);
const [SMALLEST, LARGEST] = [3, 40];
const NOWHERE: Spot = { row: undefined, column: undefined };

export function HeatMap({ run }: { readonly run: Run }) {
  const inspection = useInspection(run, shown.value === "entropy" || shown.value === "margin" || part.value === "prompt");
  const map = useMemo(() => mapOf(run, part.value, shown.value, inspection), [run, part.value, shown.value, inspection]);
  const [locked, setLocked] = useState<Spot>(NOWHERE);
  const [pointed, setPointed] = useState<Spot>(NOWHERE);
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = (): Frame => {
    const { clientWidth: width, clientHeight: height, scrollLeft: left, scrollTop: top } = box.current!;
    return { width, height, left, top, size: size.value, locked, pointed };
  };
  useEffect(() => setLocked(NOWHERE), [part.value, run.modules]);
  useEffect(() => {
    let waiting = 0;
    const later = () => {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        if (canvas.current && box.current) draw(canvas.current, map, frame());
      });
    };
    later();
    const element = box.current!;
    const watcher = new ResizeObserver(later);
    watcher.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    element.addEventListener("scroll", later, { passive: true });
    dark.addEventListener("change", later);
    return () => {
      cancelAnimationFrame(waiting);
      watcher.disconnect();
      element.removeEventListener("scroll", later);
      dark.removeEventListener("change", later);
    };
  }, [map, locked, pointed, size.value]);
  const spot = (event: MouseEvent): Spot => {
    const { left, top } = canvas.current!.getBoundingClientRect();
    return spotAt(map, frame(), event.clientX - left, event.clientY - top);
  };
  const lock = (next: Spot) => {
    const isSame = next.row === locked.row && next.column === locked.column;
    setLocked(isSame ? NOWHERE : next);
    if (part.value === "answer") selected.value = isSame || next.row === undefined ? undefined : { part: "answer", token: next.row };
  };
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
    const step = steps[event.key];
    if (event.key === "Escape") lock(locked);
    else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.25 : 0.8);
    else if (step) {
      event.preventDefault();
      const limit = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
      const next = {
        row: limit((locked.row ?? -step[0]) + step[0], map.rows.length),
        column: limit((locked.column ?? -step[1]) + step[1], map.columns.length),
      };
      setLocked(next);
      reveal(box.current!, next);
    } else if (event.key === "Enter" && locked.row !== undefined && part.value === "answer")
      selected.value = { part: "answer", token: locked.row };
  };
  const { width, height } = fullSize(map, size.value);
  const told = described(run, map, locked.row === undefined && locked.column === undefined ? pointed : locked, part.value, inspection);
  return (
    <section class="panel heat" aria-label="Tokens and modules">
      <div class="row between">
        <h2>Tokens × modules</h2>
        <div class="row">
          <Choice
            label="Tokens of"
            value={part.value}
            all={{ answer: "the answer", prompt: "the prompt" }}
            onChange={(value) => (part.value = value)}
          />
          <Choice label="Show" value={shown.value} all={SHOWN} onChange={(value) => (shown.value = value)} />
          <button type="button" onClick={() => zoom(0.8)} aria-label="Smaller cells">
            −
          </button>
          <button type="button" onClick={() => zoom(1.25)} aria-label="Larger cells">
            +
          </button>
        </div>
      </div>
      <div
        class="map-box"
        ref={box}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the map takes arrows, plus, minus and Escape
        tabIndex={0}
        role="application"
        aria-label={`Map of ${map.rows.length} tokens and ${map.columns.length} modules. Arrows move, plus and minus zoom, Escape lets go.`}
        aria-describedby="map-told"
        onKeyDown={move}
        onWheel={(event) => {
          if (!event.ctrlKey) return;
          event.preventDefault();
          zoom(event.deltaY < 0 ? 1.15 : 0.87);
        }}
        style={{ height: `min(${height + 18}px, 65vh)` }}
      >
        <div style={{ width: `${width}px`, height: `${height}px` }}>
          <canvas
            ref={canvas}
            onMouseMove={(event) => setPointed(spot(event))}
            onMouseLeave={() => setPointed(NOWHERE)}
            onClick={(event) => lock(spot(event))}
          />
        </div>
      </div>
      <p id="map-told" class="told" aria-live="polite">
        {told}
      </p>
    </section>
  );
}

function zoom(factor: number): void {
  size.value = Math.max(
    SMALLEST,
    Math.min(
      LARGEST,
      Math.round(size.value * factor) === size.value ? size.value + Math.sign(factor - 1) : Math.round(size.value * factor),
    ),
  );
}

function reveal(box: HTMLElement, { row = 0, column = 0 }: Spot): void {
  const [x, y] = [column * size.value, row * size.value];
  const [width, height] = [box.clientWidth - LABEL, box.clientHeight - HEAD];
  if (x < box.scrollLeft || x + size.value > box.scrollLeft + width) box.scrollLeft = x - width / 2;
  if (y < box.scrollTop || y + size.value > box.scrollTop + height) box.scrollTop = y - height / 2;
}

function Choice<T extends string>({
  label,
  value,
  all,
  onChange,
}: {
  label: string;
  value: T;
  all: Readonly<Record<T, string>>;
  onChange: (value: T) => void;
}) {
  return (
    <label>
      {label}{" "}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value as T)}>
        {(Object.entries(all) as [T, string][]).map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Scores of the whole run, when they are wanted. */
function useInspection(run: Run, isWanted: boolean): Inspection | undefined {
  const [found, setFound] = useState<{ run: Run; inspection: Inspection } | undefined>(undefined);
  const known = world.value;
  useEffect(() => {
    if (!isWanted || !known || found?.run === run) return;
    const request = {
      ...targetOf(known, run.settings),
      prompt: promptOf(run.prompt, run.settings),
      answer: run.tokens.map(({ id }) => id),
    };
    backend.value.inspect(request).then((inspection) => setFound({ run, inspection }), fail);
  }, [run, isWanted, known]);
  return found?.run === run ? found.inspection : undefined;
}

function mapOf(run: Run, of: Part, what: Shown, inspection: Inspection | undefined): MapData {
  const isAnswer = of === "answer";
  const modules = isAnswer ? run.modules : run.promptModules;
  const routes: readonly TokenRoute[] = isAnswer ? run.tokens : run.promptRoutes;
  const scored = inspection?.[of];
  const places = modules.map((module) => scored?.modules.indexOf(module) ?? -1);
  const cell = (row: number, column: number) => {
    const { experts, weights } = routes[row]!;
    const [best, weight] = [experts[column]?.[0], weights[column]?.[0]];
    if (best === undefined || weight === undefined) return undefined;
    if (what === "expert") return { expert: best, value: weight };
    if (what === "weight") return { value: weight };
    const value = scored?.[what][row]?.[places[column]!];
    return value === undefined ? undefined : { value };
  };
  const texts = isAnswer ? run.tokens.map(({ text }) => text) : routes.map((_, i) => inspection?.promptTokens[i] ?? `${i + 1}`);
  return {
    rows: texts.map(visible),
    columns: modules.map((module) => ({ layer: layerOf(module), name: shortName(module) })),
    cell,
    letters: shortNames(run.experts),
  };
}

/** What stands at a place: one cell, a token over all modules, or a module over all tokens. */
function described(run: Run, { rows }: MapData, { row, column }: Spot, of: Part, inspection: Inspection | undefined): string {
  const routes: readonly TokenRoute[] = of === "answer" ? run.tokens : run.promptRoutes;
  const modules = of === "answer" ? run.modules : run.promptModules;
  if (row === undefined && column === undefined) return "Point at a cell, or move with the arrows; a click locks its row and column.";
  if (row !== undefined && !routes[row]) return "";
  const named = (expert: number, share: number) => `${run.experts[expert]} ${percent(share)}`;
  if (row !== undefined && column !== undefined) {
    const { experts, weights } = routes[row]!;
    const parts = (experts[column] ?? []).map((expert, j) => ({ expert, weight: weights[column]![j]! })).filter(({ weight }) => weight > 0);
    const at = inspection?.[of].modules.indexOf(modules[column]!) ?? -1;
    const extra =
      at < 0 ? "" : `; entropy ${inspection![of].entropy[row]![at]!.toFixed(2)}, margin ${inspection![of].margin[row]![at]!.toFixed(2)}`;
    return `“${rows[row]}” at ${modules[column]}: ${parts.map(({ expert, weight }) => named(expert, weight)).join(", ") || "no expert"}${extra}`;
  }
  const load = row === undefined ? loadOf(routes, run.experts.length, column) : loadOf([routes[row]!], run.experts.length);
  const sorted = load
    .map((share, expert) => ({ share, expert }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share);
  const what = row === undefined ? `${modules[column!]}, all tokens` : `“${rows[row]}”, all modules`;
  return `${what}: ${sorted.map(({ expert, share }) => named(expert, share)).join(", ")}; evenness ${evenness(load).toFixed(2)}`;
}
