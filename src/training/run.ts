/** @file A training run on disk. It can be resumed after the process was killed at any moment.
 *
 *      config.json          the options, with a fingerprint of the data
 *      metrics.jsonl        one line per step or validation
 *      state.safetensors    parameters and their moments after `step` steps, and the best so far; replaced in one rename
 *
 *  All else that a step needs (data order, dropout) depends only on the seed and the step, so the state is complete. */

import { appendFile, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CONFIG_FILE } from "../adapters/file-names.ts";
import { OptionError, TrainingError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { codeOf, makeFolder, writeFileAtomically, writing } from "../checkpoint/atomic.ts";
import { openSafetensors, readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { exists } from "../storage/files.ts";
import type { Parameters } from "./learner.ts";
import type { Trainer } from "./trainer.ts";

export interface Best {
  readonly step: number;
  readonly loss: number;
  readonly parameters: Parameters;
}
export interface SavedState {
  /** Optimizer steps taken. */
  readonly step: number;
  readonly best?: Best;
  /** The place in the data, of data that is read in order. */
  readonly place?: string;
}
export interface Metric {
  readonly step: number;
  readonly [name: string]: number;
}

const CONFIG = "config.json";
const METRICS = "metrics.jsonl";
const STATE = "state.safetensors";

/** Whether a folder holds a run and no other files. */
export async function isRun(directory: string): Promise<boolean> {
  return (await exists(join(directory, STATE))) && !(await exists(join(directory, CONFIG_FILE)));
}

export class Run {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Opens or creates the folder. A run with another configuration is refused. */
  static async open(directory: string, config: Readonly<Record<string, unknown>>): Promise<Run> {
    await makeFolder(directory);
    const path = join(directory, CONFIG);
    const text = `${JSON.stringify(config, null, 2)}\n`;
    const known = await readIfThere(path);
    if (known !== undefined && known !== text) {
      throw new OptionError({
        code: "run-differs",
        data: { folder: directory },
        what: `This run was begun otherwise: ${differences(parsed(known, path), config)}.`,
        where: directory,
        fix: "Repeat what it was begun with to resume it, name another `run` folder, or delete this one to start afresh.",
      });
    }
    if (known === undefined) await writeFileAtomically(path, text);
    return new Run(directory);
  }

  /** Loads the last saved state into the trainer; metrics written after it are dropped. */
  async restore(trainer: Trainer): Promise<SavedState> {
    const path = join(this.directory, STATE);
    if (!(await exists(path))) {
      await rm(join(this.directory, METRICS), { force: true });
      return { step: 0 };
    }
    const { saved, tensors } = await readState(path);
    const read = (name: string) => tensors.get(name) as HostTensor<"float32">;
    const names = [...(await trainer.state()).keys()];
    await trainer.restore(new Map(names.map((name) => [name, { value: read(name), m: read(`m ${name}`), v: read(`v ${name}`) }])));
    const { step, bestStep, bestLoss, place } = saved.metadata as Record<string, string>;
    await this.#truncateMetrics(Number(step));
    const state = { step: Number(step), ...(place === undefined ? {} : { place }) };
    if (bestStep === undefined) return state;
    const parameters = new Map(names.map((name) => [name, read(`best ${name}`)]));
    return { ...state, best: { step: Number(bestStep), loss: Number(bestLoss), parameters } };
  }

  async save(step: number, trainer: Trainer, { best, place }: Omit<SavedState, "step"> = {}): Promise<void> {
    const tensors = new Map<string, HostTensor>();
    for (const [name, { value, m, v }] of await trainer.state()) {
      tensors.set(name, value);
      tensors.set(`m ${name}`, m);
      tensors.set(`v ${name}`, v);
      if (best) tensors.set(`best ${name}`, best.parameters.get(name)!);
    }
    const metadata = {
      step: String(step),
      ...(best ? { bestStep: String(best.step), bestLoss: String(best.loss) } : {}),
      ...(place === undefined ? {} : { place }),
    };
    await writeSafetensors(join(this.directory, STATE), tensors, { metadata });
  }

  async log(metric: Metric): Promise<void> {
    const path = join(this.directory, METRICS);
    await writing(path, () => appendFile(path, `${JSON.stringify(metric)}\n`));
  }

  /** Keeps only the lines of steps before the saved state. Also drops a line that a crash cut off. */
  async #truncateMetrics(step: number): Promise<void> {
    const path = join(this.directory, METRICS);
    const lines = ((await readIfThere(path)) ?? "").split("\n");
    const kept = lines.filter((line) => {
      try {
        return (JSON.parse(line) as Metric).step <= step;
      } catch {
        return false; // the last line, cut off or empty
      }
    });
    await writeFileAtomically(path, kept.map((line) => `${line}\n`).join(""));
  }
}

async function readState(path: string) {
  try {
    return { saved: await openSafetensors(path), tensors: await readSafetensors(path) };
  } catch (cause) {
    const fix = "Name another `run` folder, or delete this one to start afresh.";
    throw new TrainingError({
      code: "training-state-damaged",
      data: { folder: dirname(path) },
      what: "The run's saved state is damaged.",
      where: path,
      fix,
      cause,
    });
  }
}

function parsed(text: string, where: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    const fix = "Name another `run` folder, or delete this one to start afresh.";
    throw new OptionError({
      code: "run-bad-config",
      data: { folder: dirname(where) },
      what: "This run's configuration is not JSON.",
      where,
      fix,
      cause,
    });
  }
}

/** What the run in a folder was begun with; undefined where there is none. */
export async function recordedConfig(directory: string): Promise<Record<string, unknown> | undefined> {
  const path = join(directory, CONFIG);
  const text = await readIfThere(path);
  return text === undefined ? undefined : parsed(text, path);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Descriptions of the fields that a configuration stores only as hashes. */
const HASHED: Readonly<Record<string, string>> = {
  base: "the base model is another",
  data: "the examples are others",
  start: "the state it starts from is another",
};

function differences(before: Record<string, unknown>, now: Readonly<Record<string, unknown>>): string {
  const changed = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(now[key]),
  );
  return changed.map((key) => HASHED[key] ?? `${key} was ${JSON.stringify(before[key])}, now ${JSON.stringify(now[key])}`).join("; ");
}
