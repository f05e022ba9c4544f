/** @file Files of earlier work that a server shows: an evaluation's folder (results.json, samples of each method) and a folder of training runs.
 *  Requests name tasks and methods, never files: only what results.json lists can be read. */

import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod";
import type { Chart } from "../../evaluation/comparison/chart.ts";
import { readCurves } from "../../evaluation/report/read-curves.ts";
import { RequestProblem } from "../problem.ts";

export interface ShelfOptions {
  /** results.json of an evaluation, or its folder. */
  readonly results?: string | undefined;
  /** Folder of training runs. */
  readonly runs?: string | undefined;
}

export interface Sample {
  readonly id: number;
  readonly input: string;
  readonly target: string;
  /** Method -> its answer, and its first metric. */
  readonly answers: Readonly<Record<string, { readonly text: string; readonly score: number }>>;
}

const LARGEST = 256 * 2 ** 20; // bytes of one file
const EXAMPLES = 12;

const resultsFile = z.looseObject({
  tasks: z.array(z.looseObject({ name: z.string() })),
  methods: z.array(z.looseObject({ name: z.string() })),
});
const line = z.looseObject({
  doc_id: z.number(),
  doc: z.looseObject({ input: z.string().optional() }),
  target: z.string(),
  filtered_resps: z.array(z.unknown()),
  metrics: z.array(z.string()),
});

export class Shelf {
  readonly #results: string | undefined;
  readonly #runs: string | undefined;

  constructor({ results, runs }: ShelfOptions = {}) {
    this.#results = results;
    this.#runs = runs;
  }

  get hasResults(): boolean {
    return this.#results !== undefined;
  }
  get hasCurves(): boolean {
    return this.#runs !== undefined;
  }

  async curves(): Promise<readonly Chart[]> {
    return this.#runs === undefined ? [] : readCurves(this.#runs);
  }

  /** results.json as it is. */
  async results() {
    const path = await this.#file();
    const parsed = resultsFile.safeParse(parsedJson(await readFile(path, "utf8"), path));
    if (!parsed.success) throw broken(`${path} is not the results.json of an evaluation: ${z.prettifyError(parsed.error)}`);
    return parsed.data;
  }

  /** Prompts to begin with: the first item of each task. */
  async examples(): Promise<{ name: string; prompt: string }[]> {
    if (!this.hasResults) return [];
    const { tasks, methods } = await this.results();
    const some = tasks.slice(0, EXAMPLES).map(async ({ name }) => {
      const { items } = await this.samples({ task: name, methods: [methods[0]!.name], from: 0, count: 1 });
      return items.map(({ input }) => ({ name, prompt: input }));
    });
    return (await Promise.all(some.map((one) => one.catch(() => [])))).flat(); // a task without samples has no example
  }

  /** Items of a task with the answers of methods, in the task's order. */
  async samples({ task, methods, from, count }: { task: string; methods: readonly string[]; from: number; count: number }) {
    const known = await this.results();
    const unknown = methods.find((name) => !known.methods.some((method) => method.name === name));
    if (unknown !== undefined) throw missing(`The results have no method "${unknown}".`);
    if (!known.tasks.some(({ name }) => name === task)) throw missing(`The results have no task "${task}".`);
    const items = new Map<number, { input: string; target: string; answers: Record<string, { text: string; score: number }> }>();
    for (const method of methods) {
      for (const { doc_id: id, doc, target, filtered_resps: texts, metrics, ...values } of await this.#lines(method, task)) {
        const item = items.get(id) ?? { input: doc.input ?? "", target, answers: {} };
        items.set(id, item);
        item.answers[method] ??= { text: textOf(texts), score: Number(values[metrics[0] ?? ""] ?? Number.NaN) };
      }
    }
    const sorted = [...items].sort(([a], [b]) => a - b).map(([id, item]): Sample => ({ id, ...item }));
    return { total: sorted.length, items: sorted.slice(from, from + count) };
  }

  async #file(): Promise<string> {
    if (this.#results === undefined) throw missing("This server shows no results: it was started without a results file.");
    const isFolder = await stat(this.#results).then(
      (found) => found.isDirectory(),
      () => false,
    );
    return isFolder ? join(this.#results, "results.json") : this.#results;
  }

  /** The newest samples of a method on a task. */
  async #lines(method: string, task: string) {
    const folder = join(dirname(await this.#file()), plain(method));
    const names = await readdir(folder).catch(() => []); // results.json may stand alone
    const start = `samples_${plain(task)}_`;
    const name = names.filter((one) => one.startsWith(start) && /^\d{4}-\d\d-\d\dT[\w.-]*\.jsonl$/.test(one.slice(start.length))).sort();
    if (name.length === 0) throw missing(`There are no samples of "${method}" on "${task}" beside results.json.`);
    const path = join(folder, name.at(-1)!);
    if ((await stat(path)).size > LARGEST) throw broken(`${path} is larger than ${LARGEST} bytes.`);
    const lines = (await readFile(path, "utf8")).split("\n").filter((text) => text.trim() !== "");
    return lines.map((text) => {
      const parsed = line.safeParse(parsedJson(text, path));
      if (parsed.success) return parsed.data;
      throw broken(`${path} has a line that is no sample: ${z.prettifyError(parsed.error)}`);
    });
  }
}

/** A name as saveResults writes it into paths. */
const plain = (name: string) => name.replace(/[^\w.=-]+/g, "_").replace(/^\.+/, "_");

/** An answer's text; of a choice by likelihood its numbers. */
function textOf(texts: readonly unknown[]): string {
  return texts.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(" ");
}

function parsedJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw broken(`${where} is no JSON.`);
  }
}
function missing(message: string): RequestProblem {
  return new RequestProblem({ status: 404, message, code: "not_found" });
}
function broken(message: string): RequestProblem {
  return new RequestProblem({ status: 500, message, code: "results_unreadable" });
}
