/** @file Follows the text of one JSON object as it comes, to know where it ends. It does not check it. */

export class ObjectScanner {
  #depth: number;
  #isString = false;
  #isEscaped = false;
  #seen = 0;

  /** `depth`: how many objects are open already. */
  constructor(depth = 0) {
    this.#depth = depth;
  }
  /** Characters that were taken. */
  get seen(): number {
    return this.#seen;
  }

  /** Goes on with `text`, to the object's end at most: how many characters belong to it, those without the spaces outside of strings, and
   *  whether the object is whole. */
  take(text: string): { readonly used: number; readonly compact: string; readonly isWhole: boolean } {
    let compact = "";
    for (let at = 0; at < text.length; at++) {
      const character = text[at]!;
      this.#seen++;
      if (this.#isString || !/\s/.test(character)) compact += character;
      if (this.#ends(character)) return { used: at + 1, compact, isWhole: true };
    }
    return { used: text.length, compact, isWhole: false };
  }

  #ends(character: string): boolean {
    if (this.#isString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === "\\") this.#isEscaped = true;
      else if (character === '"') this.#isString = false;
    } else if (character === '"') this.#isString = true;
    else if (character === "{" || character === "[") this.#depth++;
    else if (character === "}" || character === "]") {
      this.#depth -= 1;
      return this.#depth === 0;
    }
    return false;
  }
}
