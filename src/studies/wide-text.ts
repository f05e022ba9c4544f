/** @file The text that the wide base reads: articles, instructions, the prompts of training rows, and the demo's word lists.
 *
 *  Of the experts' sets it reads the prompts of training rows, never an answer, and no row of a validation or test part. Of the
 *  held-out sets it reads nothing. */

import { join } from "node:path";
import { z } from "zod";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import type { Row } from "../data/row.ts";
import { parseJson, readRows, readUtf8 } from "../data/rows.ts";
import { corpus } from "../demo/corpus.ts";
import { publicRows } from "./public-data.ts";
import { PUBLIC_EXPERTS } from "./public-sets.ts";

const PIECE = 900; // characters: about 300 tokens, so that several pieces fill a row without being cut
const NUM_GENERATED = 1500;

/** Pieces of text in the seed's order. `folder` holds the public data. */
export async function wideText(folder: string, seed: number): Promise<string[]> {
  const texts: string[] = [];
  for (const { file, text } of SOURCES) for (const row of await readRows(join(folder, file))) texts.push(text(row));
  texts.push(...(await articles(folder)));
  for (const set of PUBLIC_EXPERTS) {
    const rows = (await publicRows(folder, set)).get("train") ?? [];
    texts.push(...rows.map(({ input }) => input));
  }
  for (const { input, target } of corpus({ numExamples: NUM_GENERATED, seed, split: "train" })) texts.push(`${input} -> ${target}`);
  const pieces = texts.flatMap(inPieces).filter((piece) => piece.length > 0 && isLatin(piece));
  return shuffled(pieces, seededRandom(derivedSeed(seed, "text")));
}

const fields = (...names: readonly string[]) => {
  return ({ value }: Row) =>
    names
      .map((name) => value[name])
      .filter((part) => typeof part === "string" && part !== "")
      .join("\n");
};
const SOURCES: readonly { readonly file: string; readonly text: (row: Row) => string }[] = [
  { file: "llama-factory/c4_demo.jsonl", text: fields("text") },
  { file: "llama-factory/alpaca_en_demo.json", text: fields("instruction", "input", "output") },
  { file: "classification/agnews/test.csv", text: fields("Title", "Description") },
  { file: "medicine/opengpt_prepared.csv", text: (row) => fields("text")(row).replace(/<\|\w+\|>/g, "") },
];

const PUBMED = z.record(z.string(), z.object({ QUESTION: z.string(), CONTEXTS: z.array(z.string()), LONG_ANSWER: z.string() }));
const REPORTS = z.array(z.object({ paragraphs: z.array(z.object({ text: z.string() })) }));
const STRATEGY = z.object({ examples: z.array(z.object({ input: z.string() })) });

/** Texts of files that are no rows. */
async function articles(folder: string): Promise<string[]> {
  const read = async <T>(schema: z.ZodType<T>, file: string): Promise<T> => {
    const path = join(folder, file);
    return schema.parse(parseJson(await readUtf8(path), path));
  };
  const papers = Object.values(await read(PUBMED, "medicine/pubmedqa_ori_pqal.json"));
  const reports = await read(REPORTS, "finance/tatqa_dev.json");
  const { examples } = await read(STRATEGY, "cot/StrategyQA_task.json");
  return [
    ...papers.map(({ QUESTION, CONTEXTS, LONG_ANSWER }) => [QUESTION, ...CONTEXTS, LONG_ANSWER].join("\n")),
    ...reports.map(({ paragraphs }) => paragraphs.map(({ text }) => text).join("\n")),
    ...examples.map(({ input }) => input),
  ];
}

/** A text in parts that end at a space. */
function inPieces(text: string): string[] {
  const pieces: string[] = [];
  let rest = text.trim();
  while (rest.length > PIECE) {
    const space = rest.lastIndexOf(" ", PIECE);
    const end = space > PIECE / 2 ? space : PIECE;
    pieces.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return [...pieces, rest];
}

/** The vocabulary has few pieces for other scripts. */
function isLatin(text: string): boolean {
  return (text.match(/[^\x20-\x7e\s]/gu)?.length ?? 0) < text.length / 20;
}
