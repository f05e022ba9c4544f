/** @file Lists written as Python or JSON literals: `['A', "it's", 3]`, as `ast.literal_eval` reads them. */

const TOKEN = /\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)|(True|False|None|true|false|null))\s*(,|\]|\))/suy;
const CONSTANTS: Readonly<Record<string, boolean | null>> = {
  True: true,
  true: true,
  False: false,
  false: false,
  None: null,
  null: null,
};
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r" };

/** The items of a flat list or tuple of strings, numbers and constants; undefined if `text` is not such a list. */
export function parseListLiteral(text: string): unknown[] | undefined {
  const source = text.trim();
  const close = { "[": "]", "(": ")" }[source[0] ?? ""];
  if (!close || source.at(-1) !== close) return undefined;
  const items: unknown[] = [];
  TOKEN.lastIndex = 1;
  while (source.slice(TOKEN.lastIndex).trim() !== close) {
    const match = TOKEN.exec(source);
    if (!match) return undefined;
    const [, single, double, number, constant, ending] = match;
    const string = single ?? double;
    items.push(string !== undefined ? unescaped(string) : number !== undefined ? Number(number) : CONSTANTS[constant ?? ""]);
    if (ending === close) return TOKEN.lastIndex === source.length ? items : undefined;
    if (ending !== ",") return undefined;
  }
  return items;
}

function unescaped(text: string): string {
  return text.replace(/\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|(.))/gisu, (_, unicode, hex, letter: string) =>
    unicode || hex ? String.fromCharCode(Number.parseInt(unicode ?? hex, 16)) : (ESCAPES[letter] ?? letter),
  );
}
