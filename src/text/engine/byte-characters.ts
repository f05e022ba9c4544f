/** @file GPT-2's spelling of bytes as characters that can be seen: printable ones stand for themselves, the others are moved up
 *  beyond U+0100, in order. */

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
