/** @file The engine from folders: a base, adapters, a pool. */

import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { longestSequence } from "../evaluation/scoring/length.ts";
import type { SchedulerLimits } from "../generation/scheduler.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import { openBase } from "../inference/base.ts";
import { Runner } from "../inference/runner.ts";
import { plain } from "../inference/woven.ts";
import type { Precision } from "../quantization/scheme.ts";
import type { Device } from "../runtime/engine.ts";
import { listPool } from "../storage/pool.ts";
import { Engine } from "./engine.ts";
import { ServedModels } from "./served-models.ts";
import { ServedPool } from "./served-pool.ts";
import { readVocabulary } from "./vocabulary.ts";

/** Plain data: it crosses to the engine's thread. */
export interface EngineOptions {
  readonly base: string;
  /** The base's name in requests; the folder's or the Hub's name when absent. */
  readonly name?: string | undefined;
  readonly precision?: Precision | "auto" | undefined;
  readonly device?: Device | "auto" | undefined;
  readonly pool?: string | undefined;
  readonly poolName?: string | undefined;
  /** Methods listed beside the pool's own, and opened before anything is answered. */
  readonly methods?: readonly string[] | undefined;
  /** Name -> folder. */
  readonly adapters?: Readonly<Record<string, string>> | undefined;
  readonly adapterRoot?: string | undefined;
  /** Most tokens of a prompt and its answer; the model's own when absent. */
  readonly contextLength?: number | undefined;
  readonly limits?: SchedulerLimits | undefined;
  readonly sessions?: number | undefined;
  /** Milliseconds between looks at the pool's folder; 0 for none. */
  readonly watchEvery?: number | undefined;
}

export interface EngineEvents {
  readonly onWarning?: (warning: string) => void;
}

const UNBOUNDED = 8192; // tokens, where a model knows no limit

export async function openEngine(options: EngineOptions, { onWarning = () => {} }: EngineEvents = {}): Promise<Engine> {
  const {
    base: root,
    precision,
    device,
    pool,
    methods = [],
    adapters = {},
    adapterRoot,
    limits,
    sessions = 24,
    watchEvery = 1000,
  } = options;
  const base = await openBase(root, { precision, device });
  const runner = new Runner(base, { sessions });
  const model = { base, runner, woven: plain };
  const id = options.name ?? nameOf(root);
  const served = pool === undefined ? undefined : await ServedPool.open(model, pool, { methods, onWarning });
  for (const text of served ? ["", ...methods] : []) await served!.opened(text || served!.standard);
  const poolId = options.poolName ?? nameOf(pool ?? "");
  const models = new ServedModels({ model, id, root, pool: served && { id: poolId, served }, methods, adapterRoot });
  for (const [name, folder] of Object.entries(adapters)) await models.addNamed(name, folder);
  const stop = served && watchEvery > 0 ? watched(served, watchEvery, onWarning) : () => {};
  const tokenizer = await base.tokenizer();
  const vocabulary = await readVocabulary(base.checkpoint.directory, tokenizer);
  const longest = longestSequence(model) ?? UNBOUNDED;
  return new Engine({
    model,
    models,
    tokenizer,
    vocabulary,
    contextLength: Math.min(longest, options.contextLength ?? longest),
    ...(limits && { limits }),
    dispose: async () => {
      stop();
      await runner.dispose();
    },
  });
}

/** Refuses a base or a pool that is not there, before a process is started for it. */
export async function checkFolders({ base, pool }: EngineOptions): Promise<void> {
  await openCheckpoint(await resolveModel(base));
  if (pool !== undefined) await listPool(pool);
}

/** A folder's name; a Hub id as it is. */
function nameOf(root: string): string {
  return existsSync(root) ? basename(resolve(root)) : root;
}

/** Reads the pool again when it has changed. An error is told once, and the old experts stay. */
function watched(pool: ServedPool, every: number, onWarning: (warning: string) => void): () => void {
  let last = "";
  let isReading = false;
  const timer = setInterval(async () => {
    if (isReading) return;
    isReading = true;
    try {
      await pool.refresh();
      last = "";
    } catch (error) {
      const text = String(error);
      if (text !== last) onWarning(`The pool's folder cannot be read; its experts stay as they were. ${text}`);
      last = text;
    } finally {
      isReading = false;
    }
  }, every);
  timer.unref();
  return () => clearInterval(timer);
}
