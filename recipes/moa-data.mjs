// Prompt and answer pairs of five domains from public data sets, for moa-study.mjs. `folder` contains the sets as published:
//   finance    finance/financial_phrasebank_all-data.csv (sentence -> sentiment), finance/tatqa_dev.json (paragraph and question -> span)
//   medicine   medicine/chatdoctor5k_head.json (patient -> doctor), medicine/pubmedqa_ori_pqal.json (question -> conclusion)
//   code       codealpaca/code_alpaca_2k.json (task -> code), code/MbppPlus_head.jsonl (docstring -> function)
//   exam       exam/agieval_*.jsonl, the English ones (passage, question, options -> the right option)
//   reasoning  gsm8k/train.jsonl (problem -> steps and result), cot/flan_{ecqa,qasc,strategyqa}_train.tsv (question -> rationale and answer)
// No prompt names its domain. Texts longer than `sizes` are left out (long answers are cut at a sentence or line). All examples that share
// a context (a table, a passage, a question) are on the same side of the split.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const json = async (path, encoding = "utf8") => JSON.parse(await readFile(path, encoding));
const jsonLines = async (path) =>
  (await readFile(path, "utf8"))
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

async function finance(folder) {
  const lines = (await readFile(join(folder, "finance/financial_phrasebank_all-data.csv"), "latin1")).split(/\r?\n/);
  const news = lines.flatMap((line) => {
    const [, label, text] = /^(neutral|positive|negative),(.*)$/.exec(line) ?? [];
    return label ? [{ input: text.replace(/^"|"$/g, "").replaceAll('""', '"'), target: label, context: text }] : [];
  });
  const reports = (await json(join(folder, "finance/tatqa_dev.json"))).flatMap(({ table, paragraphs, questions }) =>
    questions.flatMap(({ question, answer, rel_paragraphs: related }) => {
      const text = paragraphs.find(({ order }) => String(order) === related[0])?.text;
      return text && Array.isArray(answer) ? [{ input: `${text}\n${question}`, target: answer.join("; "), context: table.uid }] : [];
    }),
  );
  return [news, reports];
}

async function medicine(folder) {
  const advice = await json(join(folder, "medicine/chatdoctor5k_head.json"));
  const papers = await json(join(folder, "medicine/pubmedqa_ori_pqal.json"));
  return [
    advice.map(({ input, output }) => ({ input, target: output, context: input })),
    Object.values(papers).map(({ QUESTION, LONG_ANSWER }) => ({ input: QUESTION, target: LONG_ANSWER, context: QUESTION })),
  ];
}

async function code(folder) {
  const tasks = await json(join(folder, "codealpaca/code_alpaca_2k.json"));
  const problems = await jsonLines(join(folder, "code/MbppPlus_head.jsonl"));
  return [
    tasks.map(({ instruction, input, output }) => ({
      input: [instruction, input].filter(Boolean).join("\n"),
      target: output,
      context: instruction,
    })),
    problems.map(({ prompt, canonical_solution: target }) => ({ input: prompt.trim(), target: target.trim(), context: prompt })),
  ];
}

async function exam(folder) {
  const sets = await Promise.all(
    ["sat-math", "aqua-rat", "logiqa-en", "lsat-lr", "sat-en"].map((name) => jsonLines(join(folder, `exam/agieval_${name}.jsonl`))),
  );
  return [
    sets.flat().map(({ passage, question, options, label }) => ({
      input: [passage, question, options.join(" ")].filter(Boolean).join("\n"),
      target: options.find((option) => option.startsWith(`(${label})`)) ?? "",
      context: passage || question,
    })),
  ];
}

async function reasoning(folder) {
  const problems = await jsonLines(join(folder, "gsm8k/train.jsonl"));
  const rows = await Promise.all(
    ["ecqa", "qasc", "strategyqa"].map(async (name) => (await readFile(join(folder, `cot/flan_${name}_train.tsv`), "utf8")).split("\n")),
  );
  const questions = rows.flat().flatMap((row) => {
    const [question, answer, rationale] = row.split("\t").map((text) => text.replaceAll("\\n", "\n"));
    return rationale ? [{ input: question, target: `${rationale} So the answer is ${answer}.`, context: question }] : [];
  });
  return [
    problems.map(({ question, answer }) => ({ input: question, target: answer.replace(/<<[^>]*>>/g, ""), context: question })),
    questions,
  ];
}

export const DOMAINS = { finance, medicine, code, exam, reasoning };

/** -> [{ name, training, test }]; sizes: { prompt, answer } in characters, counts: { training, test } for each domain. */
export async function readDomains(folder, { sizes, counts }) {
  const domains = [];
  for (const [name, read] of Object.entries(DOMAINS)) {
    const sets = (await read(folder)).map((set) => set.flatMap((example) => fitted(example, sizes)));
    const examples = sets.flatMap((set) => mixed(set).slice(0, (2 * (counts.training + counts.test)) / sets.length));
    domains.push({ name, ...split(mixed(examples), counts) });
  }
  return domains;
}

const hash = (text) => createHash("sha256").update(text).digest("hex");
/** A pseudorandom order that is always the same. */
const mixed = (examples) =>
  examples
    .map((example) => ({ example, key: hash(example.context + example.input) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ example }) => example);

function fitted({ input, target, context }, { prompt, answer }) {
  const [question, whole] = [input.trim(), target.trim()];
  if (question === "" || whole === "" || question.length > prompt) return [];
  if (whole.length <= answer) return [{ input: question, target: whole, context }];
  const start = whole.slice(0, answer + 1);
  const end = Math.max(start.lastIndexOf(". ") + 1, start.lastIndexOf("\n"));
  return end < 20 ? [] : [{ input: question, target: whole.slice(0, end).trim(), context }];
}

/** A hash of the context decides whether it is for tests. Returns only the pairs. */
function split(examples, { training, test }) {
  const isTest = ({ context }) => Number.parseInt(hash(`split ${context}`).slice(0, 4), 16) % 6 === 0;
  const pairs = (list, count) => list.slice(0, count).map(({ input, target }) => ({ input, target }));
  return {
    training: pairs(
      examples.filter((example) => !isTest(example)),
      training,
    ),
    test: pairs(examples.filter(isTest), test),
  };
}
