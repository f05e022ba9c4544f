/** @file A part that scrolls by itself, with the keyboard too. */

import type { ComponentChildren } from "preact";

export function Scroll({
  label,
  isTall = false,
  children,
}: {
  readonly label: string;
  readonly isTall?: boolean;
  readonly children: ComponentChildren;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without a focus, keys could not scroll it (axe: scrollable-region-focusable)
    <section class={isTall ? "scroll tall" : "scroll"} aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
