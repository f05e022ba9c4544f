/** @file HTML as text: escaping, and the marks of experts. */

import { markClass } from "./look.ts";

/** Escapes text for an element or a quoted attribute. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A token in visible form: line ends and empty tokens are shown as signs. */
export function visible(token: string): string {
  return escaped(token.replaceAll("\n", "⏎")) || "∅";
}

/** The experts' names, each in its mark. */
export function legend(names: readonly string[]): string {
  const items = names.map((name, expert) => `<span class="expert ${markClass(expert)}">${escaped(name)}</span>`);
  return `<p class="legend">${items.join(" ")}</p>`;
}
