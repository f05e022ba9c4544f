/** @file The training examples of a large file, read while a model learns from them.
 *
 *  A small file is read whole. Of a large one only the places of its rows are in memory; each row is read and checked when a step needs
 *  it. The check of all rows runs beside the steps, in slices of time, since the engine computes on the same thread. Its error names
 *  every bad row, as the error for a small file does. */

import { stat } from "node:fs/promises";
import { counted } from "../base/counted.ts";
import { DataError, UserError } from "../base/errors.ts";
import type { Row } from "./row.ts";
import { openRowFile, type ReadProgress, type RowFile } from "./row-file.ts";
import { noNotes, type RowNotes, rowNotes } from "./row-notes.ts";
import { dataFormat } from "./rows.ts";
import {
  lacksAnswer,
  MOST_PLACES,
  placesOf,
  type ReadOptions,
  readTrainingExamples,
  type TrainingExample,
  trainingExample,
  withoutAnswer,
} from "./training-data.ts";

/** How far reading or checking a file has come. */
export interface FileProgress {
  readonly part: "read" | "check";
  /** Bytes of the file, or rows. */
  readonly done: number;
  readonly total: number;
}

/** The options of `openTrainingExamples`. */
export interface OpenOptions extends ReadOptions {
  /** Called while the file's rows are found (bytes) and checked (rows). */
  readonly onProgress?: (progress: FileProgress) => void;
  /** Bytes from which on a file counts as large. Default: 4 MiB, and 1 MiB for gzipped and Parquet files. */
  readonly largeFrom?: number;
  /** Check all rows before the first step instead of beside the first steps. */
  readonly check?: boolean;
}

/** An example and its place, for messages. */
export interface PlacedExample {
  readonly example: TrainingExample;
  readonly where: string;
}

/** Whether an example can be learned, beyond what its row says.
 *  @throws DataError if it cannot. */
export type Examine = (placed: PlacedExample) => void;

const MEBIBYTE = 2 ** 20;

/** The examples of a data file: all of them, or those of a large file one by one.
 *  @throws DataError for a file that cannot be read; for a small file also as `readTrainingExamples` does. */
export async function openTrainingExamples(path: string, options: OpenOptions = {}): Promise<readonly TrainingExample[] | ExampleFile> {
  const isPacked = dataFormat(path) === "parquet" || path.endsWith(".gz");
  const { largeFrom = isPacked ? MEBIBYTE : 4 * MEBIBYTE } = options;
  const size = await stat(path).then(
    (found) => (found.isFile() ? found.size : 0),
    () => 0, // reading it says why it cannot be read
  );
  if (size < largeFrom || path.endsWith(".parquet.gz")) return readTrainingExamples(path, options);
  const onRead = ({ loadedBytes, totalBytes }: ReadProgress) =>
    options.onProgress?.({ part: "read", done: loadedBytes, total: totalBytes });
  return new OpenedFile(await openRowFile(path, { onRead }), options);
}

/** The examples of a large file. `trainExpert`, `trainGate` and `trainFull` learn from it as from an array; close it afterwards. */
export interface ExampleFile extends AsyncDisposable {
  readonly path: string;
  /** The number of rows. */
  readonly count: number;
  /** SHA-256 of the file's text, in hex. */
  readonly hash: string;
  /** Whether its rows are to be checked before the first step. */
  readonly checksFirst: boolean;
  /** The examples of these rows, counted from 0.
   *  @throws DataError for a row that cannot be read or has no answer; `check` names all of them. */
  examples(rows: readonly number[]): Promise<PlacedExample[]>;
  /** Checks rows for about this many milliseconds, going on from the last call. Resolves to whether all rows are checked.
   *  @throws DataError that names every bad row, as soon as one is found. */
  check(examine: Examine, milliseconds?: number): Promise<boolean>;
  close(): Promise<void>;
}

class OpenedFile implements ExampleFile {
  readonly path: string;
  readonly count: number;
  readonly hash: string;
  readonly checksFirst: boolean;
  readonly #rows: RowFile;
  readonly #options: OpenOptions;
  #check: Check | undefined;

  constructor(rows: RowFile, options: OpenOptions) {
    this.#rows = rows;
    this.#options = options;
    this.path = rows.path;
    this.count = rows.count;
    this.hash = rows.hash;
    this.checksFirst = options.check ?? false;
  }

  async examples(rows: readonly number[]): Promise<PlacedExample[]> {
    const texts = await this.#rows.texts(rows);
    return rows.map((row, i) => exampleIn(this.#rows.parsed(row, texts[i]!), noNotes));
  }

  async check(examine: Examine, milliseconds = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { onProgress, onWarning } = this.#options;
    this.#check ??= new Check(this.#rows, examine);
    const check = this.#check;
    if (check.isDone) return true;
    const shows = milliseconds === Number.POSITIVE_INFINITY;
    const end = performance.now() + milliseconds;
    do {
      await check.more();
      if (shows || check.hasFound) onProgress?.({ part: "check", done: check.done, total: this.count });
      // With a bad row nothing can be learned any more: the check goes on to its end at once.
    } while (!check.isDone && (check.hasFound || performance.now() < end));
    if (!check.isDone) return false;
    for (const sentence of check.notes.sentences()) onWarning?.(`${this.path}: ${sentence}`);
    const problem = check.problem();
    if (problem) throw problem;
    return true;
  }

  close(): Promise<void> {
    return this.#rows.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function exampleIn(row: Row, notes: RowNotes): PlacedExample {
  const example = trainingExample(row, notes);
  if (lacksAnswer(example)) throw withoutAnswer([row]);
  return { example, where: row.where };
}

/** The check of all rows, in order. */
class Check {
  done = 0;
  readonly notes = rowNotes();
  readonly #rows: RowFile;
  readonly #examine: Examine;
  /** The first bad rows, and how many there are. */
  readonly #bad: { readonly where: string; readonly error: UserError }[] = [];
  readonly #empty: Row[] = [];
  #count = { bad: 0, empty: 0 };

  constructor(rows: RowFile, examine: Examine) {
    this.#rows = rows;
    this.#examine = examine;
  }
  get isDone(): boolean {
    return this.done === this.#rows.count;
  }
  get hasFound(): boolean {
    return this.#count.bad + this.#count.empty > 0;
  }

  /** Checks the next rows. */
  async more(): Promise<void> {
    for (const text of await this.#rows.textsFrom(this.done)) this.#look(this.done++, text);
  }

  #look(index: number, text: Uint8Array): void {
    try {
      const row = this.#rows.parsed(index, text);
      const example = trainingExample(row, this.notes);
      if (lacksAnswer(example)) {
        if (this.#count.empty++ <= MOST_PLACES) this.#empty.push(row);
      } else this.#examine({ example, where: row.where });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      if (this.#count.bad++ <= MOST_PLACES) this.#bad.push({ where: this.#rows.where(index), error });
    }
  }

  /** One error for all bad rows. */
  problem(): UserError | undefined {
    const [first, ...others] = this.#bad;
    const { bad, empty } = this.#count;
    if (!first) return empty > 0 ? withoutAnswer(this.#empty, empty) : undefined;
    const { code, what, where, fix } = first.error;
    const also = [
      ...(others.length > 0
        ? [`${counted(bad - 1, "more row")} ${bad === 2 ? "has" : "have"} problems: ${placesOf(others, bad - 1)}.`]
        : []),
      ...(empty > 0 ? [`${counted(empty, "row")} ${empty === 1 ? "has" : "have"} no answer: ${placesOf(this.#empty, empty)}.`] : []),
    ];
    return new DataError({ code, what: [what, ...also].join(" "), where, fix, cause: first.error } as ConstructorParameters<
      typeof DataError
    >[0]);
  }
}
