import { Tokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { corpus, masteryExamples } from "./corpus.ts";
import { type Example, splitOf } from "./documents.ts";
import { CARRIERS, IDLE_WORDS, KEYWORDS } from "./instructions.ts";
import { answer, DOMAINS, SKILLS, skillNamed, wordsOf } from "./skills.ts";
import { DEVELOPMENT_TASKS, type DemoTask, examples, HELD_IN_TASKS, HELD_OUT_TASKS, trainingExamples } from "./tasks.ts";
import { tokenizerConfigJson, tokenizerJson, vocabulary } from "./vocabulary.ts";

const ALL_TASKS = [...HELD_IN_TASKS, ...HELD_OUT_TASKS, ...DEVELOPMENT_TASKS];
const ALL_KEYWORDS: readonly string[] = Object.values(KEYWORDS).flat();
const GROUPS = [...Object.values(KEYWORDS), ...IDLE_WORDS];
const text = [...corpus({ numExamples: 2000, seed: 1, split: "train" })];

/** The word lists of an input, one per part. */
const listsOf = ({ input }: Example): string[][] =>
  input.split(" ; ").map((part) => [...part.matchAll(/\d\. (\S+)/g)].map(([, word]) => word!));

/** Answers a task's input using only its keywords and the tables. */
function solve(task: DemoTask, { input }: Example): string {
  const answers = input.split(" ; ").flatMap((part) => {
    const rule = task.parts.find(({ keywords }) => keywords.some((keyword) => part.split(" ").includes(keyword)));
    return [...part.matchAll(/(\d\.) (\S+)/g)].map(([, mark, word]) => `${mark} ${answer(skillNamed(rule!.skill), word!)}`);
  });
  return answers.join(" ");
}

describe("skills", () => {
  it.each([
    ["opposite", "hot", "cold"],
    ["more", "big", "bigger"],
    ["past", "teach", "taught"],
    ["doing", "swim", "swimming"],
    ["plural", "mouse", "mice"],
    ["plural", "tooth", "teeth"],
    ["young", "kangaroo", "joey"],
    ["capital", "kenya", "nairobi"],
    ["previous", "thirty", "twentynine"],
    ["letter", "egypt", "e"],
    ["colour", "river", "blue"],
  ])("%s of %s is %s", (name, word, expected) => expect(answer(skillNamed(name), word)).toBe(expected));

  it("gives every word of a domain several skills, so that the word alone does not tell which is asked", () => {
    for (const domain of DOMAINS) {
      expect(SKILLS.filter((skill) => skill.domains.includes(domain)).length).toBeGreaterThanOrEqual(4);
      expect(wordsOf(domain).length).toBeGreaterThanOrEqual(24);
    }
  });

  it("puts each word in one domain", () => {
    const words = DOMAINS.flatMap((domain) => wordsOf(domain));
    expect(new Set(words).size).toBe(words.length);
  });
});

describe("instruction words", () => {
  it("are unlike one another, the skills' names and the words of lists", () => {
    const keywords: readonly string[] = GROUPS.flat();
    expect(new Set(keywords).size).toBe(keywords.length);
    const others = new Set([
      ...SKILLS.flatMap((skill) => [skill.name, ...skill.answers.keys(), ...skill.answers.values()]),
      ...CARRIERS.flatMap((carrier) => carrier.split(" ")),
    ]);
    expect(keywords.filter((keyword) => others.has(keyword))).toEqual([]);
  });

  it("are never bound to a skill in the base model's text", () => {
    for (const { input, target } of text) {
      const answers = target.split(/\s*\d\. /).slice(1);
      input.split(" ; ").forEach((part) => {
        const group = GROUPS.find((words: readonly string[]) => words.some((word) => part.split(" ").includes(word)));
        const own = answers.splice(0, [...part.matchAll(/\d\. /g)].length);
        if (group) for (const word of own) expect(group as readonly string[]).toContain(word);
      });
    }
  });
});

describe("tasks", () => {
  it("are at least ten to train on and six held out, of three kinds", () => {
    expect(HELD_IN_TASKS.length).toBeGreaterThanOrEqual(10);
    expect(HELD_OUT_TASKS.length).toBeGreaterThanOrEqual(6);
    expect(new Set(HELD_OUT_TASKS.map((task) => task.kind))).toEqual(new Set(["new words", "new domain", "compound"]));
  });

  it.each(ALL_TASKS.map((task) => [task.name, task] as const))("%s is answered as its tables say", (_, task) => {
    for (const made of examples(task, "test", 100, 5)) expect(made.target).toBe(solve(task, made));
  });

  it("train each expert on its own instruction words and no other's, alone or beside the base model's own words", () => {
    for (const task of HELD_IN_TASKS) {
      const made = trainingExamples(task, 200, 1);
      const others = ALL_KEYWORDS.filter((keyword) => !task.parts[0]!.keywords.includes(keyword));
      for (const { input } of made) expect(input.split(" ").filter((word) => others.includes(word))).toEqual([]);
      const beside = made.filter(({ input }) => input.includes(" ; ")).length;
      expect(beside).toBeGreaterThan(70);
      expect(beside).toBeLessThan(130);
    }
  });

  it("come out the same for the same seed and differently for another", () => {
    const task = HELD_IN_TASKS[0]!;
    expect(examples(task, "test", 50, 1)).toEqual(examples(task, "test", 50, 1));
    expect(examples(task, "test", 50, 1)).not.toEqual(examples(task, "test", 50, 2));
  });

  it("share no word list between splits, nor with the base model's text", () => {
    const trained = new Set<string>();
    const note = (made: Example) => {
      for (const list of listsOf(made)) trained.add(list.join(" "));
    };
    text.forEach(note);
    for (const task of HELD_IN_TASKS) trainingExamples(task, 500, 1).forEach(note);
    const tested = [...ALL_TASKS.flatMap((task) => examples(task, "test", 200, 1)), ...masteryExamples(SKILLS, 2, 200, 1)];
    for (const made of tested) {
      for (const list of listsOf(made)) {
        expect(splitOf(list)).toBe("test");
        expect(trained.has(list.join(" "))).toBe(false);
      }
    }
  });

  it("share no instruction or pair of skills between development and the final table", () => {
    const [development, heldOut] = [DEVELOPMENT_TASKS, HELD_OUT_TASKS].map((tasks) => new Set(tasks.map(({ name }) => name)));
    expect([...development!].filter((name) => heldOut!.has(name))).toEqual([]);
    const pairs = (tasks: readonly DemoTask[]) =>
      tasks.filter(({ kind }) => kind === "compound").map(({ skills }) => [...skills].sort().join("+"));
    expect(pairs(DEVELOPMENT_TASKS).filter((pair) => pairs(HELD_OUT_TASKS).includes(pair))).toEqual([]);
  });

  it("have enough examples to test on", () => {
    for (const task of ALL_TASKS) expect(examples(task, "test", 300, 1)).toHaveLength(300);
  });
});

describe("vocabulary", () => {
  const tokenizer = new Tokenizer(tokenizerJson(), tokenizerConfigJson());

  it("has T5's special tokens where T5 has them", () => {
    expect(vocabulary().slice(0, 3)).toEqual(["<pad>", "</s>", "<unk>"]);
  });

  it("encodes every text of the demo word by word, and appends </s>", () => {
    const words = vocabulary();
    const made = [
      ...HELD_IN_TASKS.flatMap((task) => trainingExamples(task, 50, 1)),
      ...ALL_TASKS.flatMap((task) => examples(task, "test", 50, 1)),
    ];
    for (const { input, target } of [...text, ...made]) {
      for (const line of [input, target]) {
        const { ids } = tokenizer.encode(line);
        expect(ids.map((id: number) => words[id])).toEqual([...line.split(" "), "</s>"]);
        expect(tokenizer.decode(ids, { skip_special_tokens: true })).toBe(line);
      }
    }
  });

  it("maps a word it does not know to <unk>", () => {
    expect(tokenizer.encode("opposite xylophone").ids).toEqual([vocabulary().indexOf("opposite"), 2, 1]);
  });
});
