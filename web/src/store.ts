/** @file The page's state, in signals, and what changes it. Views read signals and call these functions; nothing else holds state that matters. */

import { batch, computed, signal } from "@preact/signals";
import { type Backend, BackendError, type Pool, type World } from "./backend.ts";
import { generate } from "./generate.ts";
import { httpBackend } from "./http-backend.ts";
import { type Run, type Settings, STANDARD } from "./run.ts";

export const VIEWS = ["play", "compare", "pool", "results", "session"] as const;
export type View = (typeof VIEWS)[number];

const KEY = "skein-key";
export const apiKey = signal(remembered(KEY));
export const needsKey = signal(false);
export const backend = signal<Backend>(httpBackend(() => apiKey.value || undefined));

export const world = signal<World | undefined>(undefined);
export const pool = signal<Pool | undefined>(undefined);
export const view = signal<View>("play");
/** The last thing that went wrong, as sentences. */
export const problem = signal<string | undefined>(undefined);
/** What a screen reader is told. */
export const said = signal("");

export const prompt = signal("");
export const settings = signal<Settings>(STANDARD);
export const run = signal<Run | undefined>(undefined);
/** The run before this one, to mark what changed. */
export const before = signal<Run | undefined>(undefined);
/** A token that is looked into. */
export const selected = signal<{ readonly part: "prompt" | "answer"; readonly token: number } | undefined>(undefined);
/** Methods that are compared, and what they gave. */
export const methods = signal<readonly string[]>(["", "base"]);
export const compared = signal<readonly Run[]>([]);

interface Step {
  readonly prompt: string;
  readonly settings: Settings;
  readonly run: Run | undefined;
}
const past = signal<readonly Step[]>([]);
const future = signal<readonly Step[]>([]);
export const canUndo = computed(() => past.value.length > 0);
export const canRedo = computed(() => future.value.length > 0);
export const isRunning = computed(() => run.value?.status === "running");

let controller: AbortController | undefined;

export function fail(error: unknown): void {
  if (error instanceof BackendError && error.status === 401) needsKey.value = true;
  problem.value = error instanceof Error ? error.message : String(error);
}

/** Reads what the server serves. */
export async function connect(): Promise<void> {
  problem.value = undefined;
  try {
    const found = await backend.value.world();
    batch(() => {
      world.value = found;
      needsKey.value = false;
    });
    pool.value = found.models.some(({ kind }) => kind === "pool") ? await backend.value.pool() : undefined;
  } catch (error) {
    fail(error);
  }
}

export function useKey(key: string): Promise<void> {
  apiKey.value = key;
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // a browser that keeps nothing asks again after a reload
  }
  return connect();
}

export function stop(): void {
  controller?.abort();
}

/** Stops, and drops what is still to come of the running answer, since something else is shown. */
export function leave(): void {
  stop();
  controller = undefined;
}

/** Generates with the present prompt and settings. `forced`: tokens that the answer begins with. `limit`: most tokens, if not the settings' number. */
export async function start(forced: readonly number[] = [], limit?: number): Promise<void> {
  const known = world.value;
  if (!known) return;
  stop();
  const own = new AbortController();
  controller = own;
  const step = { prompt: run.value?.prompt ?? prompt.value, settings: run.value?.settings ?? settings.value, run: run.value };
  batch(() => {
    if (run.value) past.value = [...past.value, step].slice(-50);
    future.value = [];
    before.value = run.value?.status === "running" ? before.value : run.value;
    selected.value = undefined;
    problem.value = undefined;
    said.value = "Generating.";
  });
  try {
    await generate({
      backend: backend.value,
      world: known,
      prompt: prompt.value,
      settings: settings.value,
      forced,
      limit,
      signal: own.signal,
      onRun: (next) => {
        if (controller === own) run.value = next;
      },
    });
  } catch (error) {
    if (controller === own) fail(error);
  }
}

/** Changes settings; with an answer on the page, generates it anew at once. */
export function change(part: Partial<Settings>): void {
  settings.value = { ...settings.value, ...part };
  if (run.value && world.value) void start();
}

export function undo(): void {
  travel(past, future);
}
export function redo(): void {
  travel(future, past);
}
function travel(from: typeof past, to: typeof past): void {
  const step = from.value.at(-1);
  if (!step) return;
  leave();
  const now = { prompt: run.value?.prompt ?? prompt.value, settings: run.value?.settings ?? settings.value, run: run.value };
  batch(() => {
    to.value = [...to.value, now];
    from.value = from.value.slice(0, -1);
    before.value = run.value;
    ({ prompt: prompt.value, settings: settings.value, run: run.value } = step);
    selected.value = undefined;
    problem.value = undefined;
  });
}

function remembered(name: string): string {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}
