/** @file SentencePiece's precompiled character map (reference: huggingface/tokenizers, normalizers/precompiled.rs, and
 *  huggingface/spm_precompiled; format: google/sentencepiece, src/normalizer.cc).
 *
 *    u32 size, then `size` bytes of a double-array trie (u32 units), then texts that each end in a zero
 *
 *  The trie maps bytes to the offset of a text. As in the Rust library, a grapheme of less than six bytes is looked up whole and
 *  replaced by the text of the shortest prefix that has one; otherwise each of its characters is looked up alone. */

const utf8 = new TextEncoder();

/** A normalizer from the file's base64. */
export function precompiled(base64: string): (text: string) => string {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const size = bytes.length < 4 ? Infinity : view.getUint32(0, true);
  if (4 + size > bytes.length) throw new Error("the precompiled_charsmap is cut off");
  const units = Array.from({ length: size >>> 2 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = bytes.subarray(4 + size);
  const known = new Map<string, string | undefined>();
  const mapped = (key: string): string | undefined => {
    if (!known.has(key)) known.set(key, found(units, texts, key));
    return known.get(key);
  };
  const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
  return (text) => {
    let out = "";
    for (const run of runs(text)) {
      const parts = run.isPlain ? run.text.match(/\r\n|[\s\S]/g)! : Array.from(graphemes.segment(run.text), ({ segment }) => segment);
      for (const part of parts) out += normalized(part, mapped);
    }
    return out;
  };
}

function normalized(grapheme: string, mapped: (key: string) => string | undefined): string {
  const whole = utf8.encode(grapheme).length < 6 ? mapped(grapheme) : undefined;
  return whole ?? Array.from(grapheme, (character) => mapped(character) ?? character).join("");
}

/** Runs of pure ASCII, where each character is a grapheme, and runs of other text with its neighbors, which may belong to a grapheme. */
function* runs(text: string): Generator<{ readonly text: string; readonly isPlain: boolean }> {
  let from = 0;
  for (const { 0: run, index } of text.matchAll(/(?:\r\n|[\0-\x7f])?(?:[^\0-\x7f]+(?:\r\n|[\0-\x7f])?)+/g)) {
    if (from < index) yield { text: text.slice(from, index), isPlain: true };
    yield { text: run, isPlain: false };
    from = index + run.length;
  }
  if (from < text.length) yield { text: text.slice(from), isPlain: true };
}

/** The text of the shortest prefix of `key` in the trie. */
function found(units: readonly number[], texts: Uint8Array, key: string): string | undefined {
  let at = offsetOf(units[0] ?? 0);
  for (const byte of utf8.encode(key)) {
    if (byte === 0) return undefined;
    at ^= byte;
    const unit = units[at] ?? 0;
    if ((unit & 0x800000ff) >>> 0 !== byte) return undefined;
    at ^= offsetOf(unit);
    if ((unit >>> 8) & 1) return textAt(texts, (units[at] ?? 0) & 0x7fffffff);
  }
  return undefined;
}

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

function textAt(texts: Uint8Array, start: number): string {
  const end = texts.indexOf(0, start);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(texts.subarray(start, end < 0 ? texts.length : end));
}
