/** @file The sets of the study on public data: which files they are, and how a row becomes an input and a target.
 *
 *  Experts: 22 sets of the T0 mixture, in the prompted form of bigscience/P3, and four others. Sets whose 200 rows all have the same
 *  answer (dbpedia_14, imdb, rotten_tomatoes) or none (trec) are left out, and so are those whose prompts are articles.
 *  Held out: eleven sets of other kinds, which no expert learns from. */

import { z } from "zod";
import { parseRow, type Row } from "../data/row.ts";
import { withoutEndOfText } from "../data/training-data.ts";

/** An input and its target, and the choices where a set has them. */
export interface PublicRow {
  readonly input: string;
  readonly target: string;
  readonly choices?: readonly string[];
}
export interface PublicSet {
  readonly name: string;
  /** The file, below the folder of public data. */
  readonly file: string;
  /** Where the farm's recipe looks for the set: a folder below the data folder. */
  readonly folder: string;
  /** What the set is about, for Mixture-of-LoRAs domains. */
  readonly domain: string;
  /** The row, or nothing for a row that the set cannot use. */
  readonly row: (row: Row) => PublicRow | undefined;
}

const text = z.string();
const PAIR = z.object({ prompt: text, completion: text });
const P3 = "t0-train-per-template";

/** A set of the T0 mixture: the name of its configuration in bigscience/P3. */
const prompted = (domain: string, name: string, config: string): PublicSet => ({
  name,
  file: `${P3}/${config}.jsonl`,
  folder: `P3/${config}`,
  domain,
  row: (row) => {
    const { prompt, completion } = parseRow(PAIR, row, "Use the prompted sets of T0.");
    return { input: prompt.trim(), target: withoutEndOfText(completion).trim() };
  },
});

const INSTRUCTION = z.object({ instruction: text, input: text, output: text });
const instructed = (row: Row): PublicRow => {
  const { instruction, input, output } = parseRow(INSTRUCTION, row, "Use instruction data.");
  return { input: [instruction, input].filter(Boolean).join("\n"), target: output.trim() };
};
const QUESTION = z.object({ question: text, answer: text });
const asked = (row: Row): PublicRow => {
  const { question, answer } = parseRow(QUESTION, row, "Use rows of a question and an answer.");
  return { input: question, target: answer };
};

const KINDS: Readonly<Record<string, string>> = {
  DESC: "Description",
  ENTY: "Entity",
  ABBR: "Abbreviation",
  HUM: "Person",
  NUM: "Quantity",
  LOC: "Location",
};
const TREC = z.object({ text });

export const PUBLIC_EXPERTS: readonly PublicSet[] = [
  prompted("topic", "ag-news", "ag_news_classify"),
  prompted("sentiment", "amazon", "amazon_polarity_Is_this_product_review_positive"),
  prompted("sentiment", "app-reviews", "app_reviews_categorize_rating_using_review"),
  prompted("sentiment", "yelp", "yelp_review_full_based_on_that"),
  prompted("writing", "common-gen", "common_gen_Example_prompt"),
  prompted("writing", "cosmos-qa", "cosmos_qa_context_answer_to_question"),
  prompted("writing", "gigaword", "gigaword_TLDR"),
  prompted("writing", "samsum", "samsum_Generate_a_summary_for_this_dialogue"),
  prompted("writing", "xsum", "xsum_DOC_boils_down_to_simple_idea_that"),
  prompted("paraphrase", "mrpc", "glue_mrpc_equivalent"),
  prompted("paraphrase", "qqp", "glue_qqp_duplicate"),
  prompted("paraphrase", "paws", "paws_labeled_final_Meaning"),
  prompted("question", "commonsense-qa", "commonsense_qa_answer_given_question_without_options"),
  prompted("question", "hotpotqa", "kilt_tasks_hotpotqa_combining_facts"),
  prompted("question", "qasc", "qasc_is_correct_1"),
  prompted("question", "social-i-qa", "social_i_qa_Check_if_a_random_answer_is_valid_or_not"),
  prompted("question", "wiki-qa", "wiki_qa_Decide_good_answer"),
  prompted("reading", "quarel", "quarel_choose_between"),
  prompted("reading", "quartz", "quartz_answer_question_based_on"),
  prompted("reading", "ropes", "ropes_background_new_situation_answer"),
  prompted("reading", "sciq", "sciq_Multiple_Choice"),
  prompted("reading", "wiqa", "wiqa_does_the_supposed_perturbation_have_an_effect"),
  { name: "coin-flip", file: "cot/coin_flip_coin_flip.json", folder: "coin_flip", domain: "reasoning", row: asked },
  { name: "code", file: "codealpaca/code_alpaca_2k.json", folder: "CodeAlpaca-20k", domain: "code", row: instructed },
  { name: "medicine", file: "medicine/chatdoctor5k_head.json", folder: "chatdoctor-5k", domain: "question", row: instructed },
  {
    name: "trec",
    file: "classification/trec/train.txt",
    folder: "P3/trec_which_category_best_describes",
    domain: "topic",
    row: (row) => {
      const { text: line } = parseRow(TREC, row, "Use lines of a label and a question.");
      const [, kind = "", question = ""] = /^(\w+):\w+ (.*)$/.exec(line) ?? [];
      const target = KINDS[kind];
      return target === undefined ? undefined : { input: `${question}\nWhat does this question ask for?`, target };
    },
  },
];

const ADAPTERS = z.object({ instruction: text, answer: text });

/** Options named "Option1: a Option2: b" become choices by their texts. */
const numbered = (row: Row): PublicRow | undefined => {
  const { instruction, answer } = parseRow(ADAPTERS, row, "Use the benchmarks of LLM-Adapters.");
  const input = instruction.replace(/\s*Answer format:.*$/s, "").trim();
  if (/^(?:true|false)$/.test(answer)) return { input, target: answer, choices: ["true", "false"] };
  const choices = [...input.matchAll(/(?:Option|Solution|Answer)\d:\s*(.*?)(?=\s*(?:Option|Solution|Answer)\d:|$)/gs)].map(
    ([, choice = ""]) => choice.trim(),
  );
  const target = choices[Number(answer.replace(/\D+/g, "")) - 1];
  return target ? { input, target, choices } : undefined;
};
const counted = (row: Row): PublicRow => {
  const { instruction, answer } = parseRow(ADAPTERS, row, "Use the benchmarks of LLM-Adapters.");
  return { input: instruction.trim(), target: String(Number(answer)) };
};
const NLI = z.object({ premise: text, hypothesis: text, label: text });
const entailed =
  (answers: Readonly<Record<string, string>>) =>
  (row: Row): PublicRow => {
    const { premise, hypothesis, label } = parseRow(NLI, row, "Use rows of a premise, a hypothesis and a label.");
    const choices = Object.values(answers);
    const last = choices.at(-1)!.toLowerCase();
    const question = `Does this follow: ${choices.slice(0, -1).join(", ").toLowerCase()} or ${last}?`;
    return { input: `${premise}\n${hypothesis}\n${question}`, target: answers[label]!, choices };
  };
const BBH = z.object({ input: text, target: text });
const hard = (row: Row): PublicRow => {
  const { input, target } = parseRow(BBH, row, "Use the tasks of BIG-Bench Hard.");
  return { input: input.replace(/\nOptions:.*$/s, ""), target, ...(/^(?:Yes|No)$/.test(target) && { choices: ["Yes", "No"] }) };
};
const benchmark = (name: string, file: string, row: PublicSet["row"]): PublicSet => ({ name, file, folder: name, domain: "held out", row });

export const PUBLIC_HELD_OUT: readonly PublicSet[] = [
  benchmark("rte", "classification/rte/val.jsonl", entailed({ entailment: "Yes", not_entailment: "No" })),
  benchmark("cb", "classification/cb/train.jsonl", entailed({ entailment: "Yes", contradiction: "No", neutral: "Maybe" })),
  benchmark("winogrande", "llm-adapters/winogrande_test.json", numbered),
  benchmark("piqa", "llm-adapters/piqa_test.json", numbered),
  benchmark("boolq", "llm-adapters/boolq_test.json", numbered),
  benchmark("openbookqa", "llm-adapters/openbookqa_test.json", numbered),
  benchmark("arc-challenge", "llm-adapters/ARC-Challenge_test.json", numbered),
  benchmark("navigate", "bbh/navigate.json", hard),
  benchmark("causal-judgement", "bbh/causal_judgement.json", hard),
  benchmark("object-counting", "bbh/object_counting.json", hard),
  benchmark("multiarith", "llm-adapters/MultiArith_test.json", counted),
];
