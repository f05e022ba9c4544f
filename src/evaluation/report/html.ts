/** @file HTML as text: escaping, and the color of an expert. */

/** Escapes text for an element or a quoted attribute. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A token in visible form: line ends and empty tokens are shown as signs. */
export function visible(token: string): string {
  return escaped(token.replaceAll("\n", "⏎")) || "∅";
}

/** An expert's hue in degrees. The golden angle separates neighbors, for any number of experts. */
export function hueOf(expert: number): number {
  return Math.round((expert * 137.508 + 210) % 360);
}

/** The experts' names, each in its color. */
export function legend(names: readonly string[]): string {
  const items = names.map((name, expert) => `<span class="expert" style="--h:${hueOf(expert)}">${escaped(name)}</span>`);
  return `<p class="legend">${items.join(" ")}</p>`;
}
