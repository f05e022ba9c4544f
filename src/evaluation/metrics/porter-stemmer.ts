/** @file The Porter stemmer with NLTK's extensions, as ROUGE uses it.
 *
 *  References: M. F. Porter, "An algorithm for suffix stripping", Program 14 (1980) 130-137; NLTK 3.8
 *  `PorterStemmer`, mode NLTK_EXTENSIONS (its default), whose departures from the paper are marked "extension" here.
 *
 *  A word is C?(VC)^m V?, where C and V are runs of consonants and vowels; m is its measure. Each step tries its
 *  rules in order. The first rule with a matching suffix ends the step, even if its condition prevents the change. */

interface Rule {
  readonly suffix: string;
  readonly replacement: string;
  /** The condition on the stem before the suffix; a rule without one always applies. */
  readonly condition?: (stem: string) => boolean;
}

/** Extension: words that are looked up instead of stemmed. */
const IRREGULAR: ReadonlyMap<string, string> = new Map([
  ["sky", "sky"],
  ["skies", "sky"],
  ["dying", "die"],
  ["lying", "lie"],
  ["tying", "tie"],
  ["news", "news"],
  ["innings", "inning"],
  ["inning", "inning"],
  ["outings", "outing"],
  ["outing", "outing"],
  ["cannings", "canning"],
  ["canning", "canning"],
  ["howe", "howe"],
  ["proceed", "proceed"],
  ["exceed", "exceed"],
  ["succeed", "succeed"],
]);

/** The stem of a word; the word is lower-cased first. Words of one or two letters stay as they are. */
export function porterStem(text: string): string {
  const word = text.toLowerCase();
  const irregular = IRREGULAR.get(word);
  if (irregular !== undefined) return irregular;
  if (word.length <= 2) return word;
  return [step1a, step1b, step1c, step2, step3, step4, step5a, step5b].reduce((stem, step) => step(stem), word);
}

// "y" is a consonant at the start and after a vowel.
function isConsonant(word: string, index: number): boolean {
  const letter = word[index]!;
  if ("aeiou".includes(letter)) return false;
  return letter !== "y" || index === 0 || !isConsonant(word, index - 1);
}

function measure(stem: string): number {
  let pairs = 0;
  let vowelBefore = false;
  for (let i = 0; i < stem.length; i++) {
    const consonant = isConsonant(stem, i);
    if (consonant && vowelBefore) pairs++;
    vowelBefore = !consonant;
  }
  return pairs;
}

const hasMeasure = (stem: string) => measure(stem) > 0;
const hasMeasureAboveOne = (stem: string) => measure(stem) > 1;

function hasVowel(stem: string): boolean {
  for (let i = 0; i < stem.length; i++) if (!isConsonant(stem, i)) return true;
  return false;
}

function endsDoubleConsonant(word: string): boolean {
  return word.length >= 2 && word.at(-1) === word.at(-2) && isConsonant(word, word.length - 1);
}

function endsConsonantVowelConsonant(word: string): boolean {
  const last = word.length - 1;
  if (last === 1) return !isConsonant(word, 0) && isConsonant(word, 1); // extension
  if (last < 2 || "wxy".includes(word[last]!)) return false;
  return isConsonant(word, last - 2) && !isConsonant(word, last - 1) && isConsonant(word, last);
}

function applyFirst(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(({ suffix }) => word.endsWith(suffix));
  if (!rule) return word;
  const stem = word.slice(0, word.length - rule.suffix.length);
  return rule.condition && !rule.condition(stem) ? word : stem + rule.replacement;
}

/** Rules written "suffix>replacement suffix>replacement ...", all under one condition. */
function rules(table: string, condition?: (stem: string) => boolean): readonly Rule[] {
  return table.split(" ").map((entry) => {
    const [suffix, replacement] = entry.split(">");
    return { suffix: suffix!, replacement: replacement!, ...(condition && { condition }) };
  });
}

const STEP_1A = rules("sses>ss ies>i ss>ss s>");
function step1a(word: string): string {
  if (word.endsWith("ies") && word.length === 4) return word.slice(0, -1); // extension: dies -> die
  return applyFirst(word, STEP_1A);
}

function step1b(word: string): string {
  if (word.endsWith("ied")) return word.slice(0, word.length === 4 ? -1 : -2); // extension: died -> die, spied -> spi
  if (word.endsWith("eed")) return hasMeasure(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const suffix = ["ed", "ing"].find((ending) => word.endsWith(ending) && hasVowel(word.slice(0, -ending.length)));
  if (!suffix) return word;
  const stem = word.slice(0, -suffix.length);
  if (/(at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsDoubleConsonant(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsConsonantVowelConsonant(stem) ? `${stem}e` : stem;
}

// Extension: y -> i only after a consonant that is not the whole stem (happy -> happi, enjoy stays, by stays).
const STEP_1C = rules("y>i", (stem) => stem.length > 1 && isConsonant(stem, stem.length - 1));
const step1c = (word: string) => applyFirst(word, STEP_1C);

const STEP_2: readonly Rule[] = [
  ...rules(
    // "bli" where the paper has "abli", and "fulli": extensions.
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize ation>ate " +
      "ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful",
    hasMeasure,
  ),
  // Extension: the l of logi counts as the stem's, so that "geologi" is treated like "archaeologi".
  ...rules("logi>log", (stem) => hasMeasure(`${stem}l`)),
];
function step2(word: string): string {
  // Extension: after -alli -> -al the step starts over.
  if (word.endsWith("alli") && hasMeasure(word.slice(0, -4))) return step2(word.slice(0, -2));
  return applyFirst(word, STEP_2);
}

const STEP_3 = rules("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>", hasMeasure);
const step3 = (word: string) => applyFirst(word, STEP_3);

const STEP_4: readonly Rule[] = [
  ...rules("al> ance> ence> er> ic> able> ible> ant> ement> ment> ent>", hasMeasureAboveOne),
  ...rules("ion>", (stem) => hasMeasureAboveOne(stem) && /[st]$/.test(stem)),
  ...rules("ou> ism> ate> iti> ous> ive> ize>", hasMeasureAboveOne),
];
const step4 = (word: string) => applyFirst(word, STEP_4);

function step5a(word: string): string {
  if (!word.endsWith("e")) return word;
  const stem = word.slice(0, -1);
  const m = measure(stem);
  return m > 1 || (m === 1 && !endsConsonantVowelConsonant(stem)) ? stem : word;
}

function step5b(word: string): string {
  return word.endsWith("ll") && hasMeasureAboveOne(word.slice(0, -1)) ? word.slice(0, -1) : word;
}
