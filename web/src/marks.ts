/** @file Experts' marks on the page: color, pattern, and two or three letters that no other expert of the pool has. */

import { markClass } from "../../src/evaluation/report/look.ts";

/** Class and style of an expert's mark. Its strength is the root of `share`, since shares of many experts are small. */
export function markProps(expert: number, share = 1): { readonly class: string; readonly style: Readonly<Record<string, string>> } {
  return { class: `expert ${markClass(expert)}`, style: { "--w": Math.sqrt(share).toFixed(2) } };
}

/** The classes of a filled area in an expert's color and pattern. */
export function fillClass(expert: number): string {
  return `fill ${markClass(expert)}`;
}

/** The shortest beginnings, of two letters at least, that tell the names apart; a number where letters do not suffice. */
export function shortNames(names: readonly string[]): readonly string[] {
  return names.map((name, i) => {
    const others = names.filter((_, j) => j !== i);
    for (let length = 2; length <= 3; length++) {
      const short = name.slice(0, length);
      if (!others.some((other) => other.startsWith(short))) return short;
    }
    return `${name.slice(0, 2)}${i + 1}`;
  });
}

/** The computed colors, for canvases. */
export function colorsNow(): {
  readonly experts: readonly string[];
  readonly ink: string;
  readonly soft: string;
  readonly ground: string;
  readonly line: string;
} {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    experts: Array.from({ length: 8 }, (_, i) => of(`--e${i}`)),
    ink: of("--ink"),
    soft: of("--soft"),
    ground: of("--ground"),
    line: of("--line"),
  };
}
