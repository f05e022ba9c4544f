/** @file GPT-2's mapping of bytes to visible characters: printable bytes map to themselves, the others to characters from U+0100 on, in
 *  order. */

const CHARACTERS: readonly string[] = (() => {
  const isPrintable = (byte: number): boolean => (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173;
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 256 + moved++));
})();

const utf8 = new TextEncoder();

/** The bytes of the text's UTF-8, each as its character. */
export function bytesAsCharacters(text: string): string {
  let out = "";
  for (const byte of utf8.encode(text)) out += CHARACTERS[byte]!;
  return out;
}

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

/** The bytes that the characters stand for; undefined where one stands for none. */
export function charactersAsBytes(text: string): readonly number[] | undefined {
  const bytes: number[] = [];
  for (const character of text) {
    const byte = BYTES.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}
