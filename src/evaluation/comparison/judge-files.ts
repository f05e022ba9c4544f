/** @file Answers to be judged, from two files that answer the same requests.
 *
 *  A line is `{ input | prompt, prediction | output, id? }`, or a line of lm-evaluation-harness's samples (evaluations write them; if there
 *  are several filters, only the first one's lines count). Lines are matched by id if both files have ids, else by order. The requests must be equal. */

import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { parseRow, type Row } from "../../data/row.ts";
import { readRows } from "../../data/rows.ts";

export interface JudgePair {
  readonly id: string;
  readonly prompt: string;
  readonly a: string;
  readonly b: string;
}
interface Line {
  readonly id: string | undefined;
  readonly prompt: string;
  readonly answer: string;
  readonly where: string;
}

const name = z.union([z.string(), z.number()]);
const plain = z.object({
  id: name.nullish(),
  input: z.string().optional(),
  prompt: z.string().optional(),
  prediction: z.string().optional(),
  output: z.string().optional(),
});
const sample = z.object({
  doc_id: name,
  arguments: z.object({ gen_args_0: z.object({ arg_0: z.string() }) }),
  filtered_resps: z.array(z.string()).min(1),
});

/** The pairs of answers in two files. */
export async function readJudgePairs(fileA: string, fileB: string): Promise<JudgePair[]> {
  const [a, b] = [ofFirstFilter(await readRows(fileA)).map(lineOf), ofFirstFilter(await readRows(fileB)).map(lineOf)];
  const byId = [...a, ...b].every(({ id }) => id !== undefined);
  if (!byId && a.length !== b.length) {
    const what = `The files hold ${a.length} and ${b.length} answers, and not all have an id to match them by.`;
    throw new DataError({
      code: "judge-files-disagree",
      what,
      where: `${fileA}, ${fileB}`,
      fix: "Give answers to the same requests, in the same order or with ids.",
    });
  }
  const others = new Map(b.map((line) => [line.id, line]));
  if (byId && (others.size < b.length || new Set(a.map(({ id }) => id)).size < a.length || others.size !== a.length)) {
    const fix = "Give each request one answer in either file, under one id.";
    throw new DataError({
      code: "judge-files-disagree",
      what: "An id occurs twice in a file, or in one file alone.",
      where: `${fileA}, ${fileB}`,
      fix,
    });
  }
  return a.map((line, i) => paired(line, byId ? others.get(line.id) : b[i], i));
}

function ofFirstFilter(rows: readonly Row[]): Row[] {
  return rows.filter(({ value }) => value.filter === rows[0]?.value.filter);
}

function paired(a: Line, b: Line | undefined, index: number): JudgePair {
  if (b && a.prompt === b.prompt) return { id: a.id ?? String(index), prompt: a.prompt, a: a.answer, b: b.answer };
  const what = b ? "These two lines answer different requests." : `No answer of the other file has the id ${a.id}.`;
  throw new DataError({
    code: "judge-files-disagree",
    what,
    where: b ? `${a.where}, ${b.where}` : a.where,
    fix: "Give answers to the same requests.",
  });
}

function lineOf(row: Row): Line {
  const { where } = row;
  if ("filtered_resps" in row.value) {
    const fix = "Give samples of a task that generates text; choices are not judged.";
    const { doc_id, arguments: asked, filtered_resps } = parseRow(sample, row, fix);
    return { id: String(doc_id), prompt: asked.gen_args_0.arg_0, answer: filtered_resps[0]!, where };
  }
  const fix = 'Write lines as {"input": request, "prediction": answer}.';
  const { id, input, prompt = input, output, prediction = output } = parseRow(plain, row, fix);
  if (prompt === undefined || prediction === undefined) {
    throw new DataError({ code: "data-bad-row", what: `This line has no ${prompt === undefined ? "request" : "answer"}.`, where, fix });
  }
  return { id: id == null ? undefined : String(id), prompt, answer: prediction, where };
}
