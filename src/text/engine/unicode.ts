/** @file The character classes of Hugging Face's tokenizers (Rust, 0.23), which differ from JavaScript's.
 *
 *  Each library that it uses has its own version of Unicode: the standard library the newest (is_numeric, is_whitespace),
 *  Oniguruma and regex version 16 (patterns), unicode_categories version 8 (BERT's punctuation and accents), and
 *  unicode-normalization-alignments version 12 (NFD, NFKC, NFKD). The tables below hold the characters that JavaScript has and those
 *  libraries lack; they were read from the library character by character. A later version of Unicode adds characters that are in no table. */

/** "61d 1b4e-1b4f" as the inside of a character class. */
function classOf(ranges: string): string {
  const escaped = (code: string): string => `\\u{${code}}`;
  return ranges.replace(/\s*([0-9a-f]+)(-?)/g, (_, code: string, dash: string) => escaped(code) + dash);
}

const within = (...classes: string[]): RegExp => new RegExp(`[${classes.join("")}]`, "u");

/** Letters, marks, numerals, punctuation and symbols that are new in version 17. */
const AFTER_16 = `88f c5c cdc 1acf-1add 1ae0-1aeb 20c1 2b96 a7ce-a7cf a7d2 a7d4 a7f1 fbc3-fbd2 fd90-fd91 fdc8-fdce 10940-10959 10ec5-10ec7
10ed0-10ed8 10efa-10efb 11b60-11b67 11db0-11ddb 11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18d09-18d1e 18d80-18df2 1ccfa-1ccfc
1ceba-1ced0 1cee0-1cef0 1e6c0-1e6de 1e6e0-1e6f5 1e6fe-1e6ff 1f6d8 1f777-1f77a 1f8d0-1f8d8 1fa54-1fa57 1fa8a 1fa8e 1fac8 1facd 1faea 1faef 1fbfa
2b73a-2b73f 2cea2-2cead 323b0-33479`;

/** Punctuation that unicode_categories lacks, and characters that only it counts as punctuation. */
const UNKNOWN_PUNCTUATION = `61d 9fd a76 c77 c84 1b4e-1b4f 1b7d-1b7f 2e43-2e4f 2e52-2e5d 10d6e 10ead 10ed0 10f55-10f59 10f86-10f89 113d4-113d5
113d7-113d8 1144b-1144f 1145a-1145b 1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46 11a9a-11a9c 11a9e-11aa2 11b00-11b09 11be1
11c41-11c45 11c70-11c71 11ef7-11ef8 11f43-11f4f 11fff 12ff1-12ff2 16d6d-16d6f 16e97-16e9a 16fe2 1e5ff 1e95e-1e95f`;
const OTHER_PUNCTUATION = "166d 111c9";

/** Nonspacing marks (Mn) that unicode_categories lacks, and characters that only it counts as such. */
const UNKNOWN_ACCENTS = `7fd 897-89f 8ca-8e1 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba ece 180f 1885-1886 1abf-1add 1ae0-1aeb 1df6-1dfb a82c a8c5
a8ff a9bd 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 111c9 111cf 1123e 11241 1133b 113bb-113c0
113ce 113d0 113d2 113e1-113e2 11438-1143f 11442-11444 11446 1145e 1182f-11837 11839-1183a 1193b-1193c 1193e 11943 119d4-119d7 119da-119db 119e0
11a01-11a0a 11a33-11a38 11a3b-11a3e 11a47 11a51-11a56 11a59-11a5b 11a8a-11a96 11a98-11a99 11b60 11b62-11b64 11b66 11c30-11c36 11c38-11c3d 11c3f
11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45 11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 11f00-11f01
11f36-11f3a 11f40 11f42 11f5a 13440 13447-13455 1611e-16129 1612d-1612f 16f4f 16fe4 1cf00-1cf2d 1cf30-1cf46 1e000-1e006 1e008-1e018 1e01b-1e021
1e023-1e024 1e026-1e02a 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5 1e944-1e94a`;
const OTHER_ACCENTS = "1734 1171e";

/** Marks of all kinds that unicode-normalization-alignments lacks, and characters that only it counts as marks. */
const UNKNOWN_MARKS = `7fd 897-89f 8ca-8d3 9fe afa-aff b55 c04 c3c cf3 d00 d3b-d3c d81 eba ece 1715 180f 1abf-1add 1ae0-1aeb 1cf7 1df6-1dfa a82c a8ff
10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 11145-11146 111c9 111ce-111cf 11241 1133b
113b8-113c0 113c2 113c5 113c7-113ca 113cc-113d0 113d2 113e1-113e2 1145e 1182c-1183a 11930-11935 11937-11938 1193b-1193e 11940 11942-11943
119d1-119d7 119da-119e0 119e4 11a01-11a0a 11a33-11a39 11a3b-11a3e 11a47 11a51-11a5b 11a8a-11a99 11b60-11b67 11d31-11d36 11d3a 11d3c-11d3d
11d3f-11d45 11d47 11d8a-11d8e 11d90-11d91 11d93-11d97 11ef3-11ef6 11f00-11f01 11f03 11f34-11f3a 11f3e-11f42 11f5a 13440 13447-13455 1611e-1612f
16f4f 16f7f-16f87 16fe4 16ff0-16ff1 1cf00-1cf2d 1cf30-1cf46 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef
1e6f5`;
const OTHER_MARKS = "1cf2-1cf3";

/** Characters that unicode-normalization-alignments does not decompose. */
const UNKNOWN_NFD = "105c9 105e4 11383 11385 1138e 11391 113c5 113c7-113c8 11938 16121-16128 16d68-16d6a";
const UNKNOWN_NFK = "32ff a7f1-a7f4 ab69 10781-10785 10787-107b0 107b2-107ba 1ccd6-1ccf9 1e030-1e06d 1f16c 1fbf0-1fbf9";

/** Control characters that BERT removes. Line ends and tabs count as spaces. */
const NO_CONTROLS = "9-a d 890-891 8e2 110cd 13430-1343f";

export const WHITE_SPACE = /\p{White_Space}/u;
export const NUMERIC = /\p{N}/u;

type Test = (character: string) => boolean;

function classTest(base: RegExp, { unknown, other = "" }: { unknown: string; other?: string }): Test {
  const [no, yes] = [within(classOf(unknown)), other === "" ? undefined : within(classOf(other))];
  return (character) => (base.test(character) ? !no.test(character) : (yes?.test(character) ?? false));
}

export const isPunctuation: Test = classTest(/[\p{P}!-/:-@[-`{-~]/u, { unknown: UNKNOWN_PUNCTUATION, other: OTHER_PUNCTUATION });
export const isAccent: Test = classTest(/\p{Mn}/u, { unknown: UNKNOWN_ACCENTS, other: OTHER_ACCENTS });
export const isMark: Test = classTest(/\p{M}/u, { unknown: UNKNOWN_MARKS, other: OTHER_MARKS });
export const isBertControl: Test = classTest(/[\0\ufffd\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u, { unknown: NO_CONTROLS });

const NMT_CONTROLS = within(classOf("1-8 b e-1f 7f 8f 9f"));
export const isNmtControl: Test = (character) => NMT_CONTROLS.test(character);

/** BERT's Chinese characters, with the same gap in the middle as in the Rust library. */
export const isChinese: Test = (character) =>
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u.test(character);

const TOO_NEW = new RegExp(within(classOf(AFTER_16)).source, "gu");

/** The text for a pattern: characters that are too new for Oniguruma and regex become unassigned ones of the same length. */
export function shadow(text: string): string {
  return text.replace(TOO_NEW, (character) => (character.length === 1 ? "\u0378" : "\u{50000}"));
}

const kept = (...ranges: string[]): RegExp => new RegExp(`([${[UNKNOWN_MARKS, ...ranges].map(classOf).join("")}]+)`, "u");

/** Characters that a form leaves unchanged, such as an unknown mark. Marks are not reordered across them. */
const KEPT: Readonly<Record<NormalForm, RegExp>> = {
  NFC: kept(),
  NFD: kept(UNKNOWN_NFD),
  NFKC: kept(UNKNOWN_NFK),
  NFKD: kept(UNKNOWN_NFD, UNKNOWN_NFK),
};

export type NormalForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/** String.normalize, except that characters unknown to the Rust library stay unchanged. */
export function normalForm(text: string, form: NormalForm): string {
  const parts = text.split(KEPT[form]);
  return parts.map((part, i) => (i % 2 === 1 ? part : part.normalize(form))).join("");
}

/** Lower case, character by character: a Greek sigma at the end of a word stays σ. */
export function lowercase(text: string): string {
  return Array.from(text, (character) => character.toLowerCase()).join("");
}
