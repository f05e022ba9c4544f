/** @file Counts what readers of rows skip, by name. It is reported once for each file. */

export interface RowNotes {
  /** Notes a field of a row or message that is not used. */
  passedOver(name: string, of: "row" | "message"): void;
  /** Notes a null that was dropped from an object. */
  droppedNull(name: string): void;
  /** The counts, as sentences. */
  sentences(): string[];
}

export function rowNotes(): RowNotes {
  const fields = new Map<string, number>();
  const nulls = new Map<string, number>();
  const count = (counts: Map<string, number>, name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
  return {
    passedOver: (name, of) => count(fields, of === "row" ? `${name} (rows: ` : `${name} (messages: `),
    droppedNull: (name) => count(nulls, `${name} (`),
    sentences: () => [
      ...sentence("Fields that are not used are skipped", fields),
      ...sentence("Null values of tool calls and tools are removed, since column formats add them", nulls),
    ],
  };
}

function sentence(opening: string, counts: ReadonlyMap<string, number>): string[] {
  if (counts.size === 0) return [];
  const shown = [...counts].slice(0, MOST_NAMES).map(([name, count]) => `${name}${count})`);
  const more = counts.size > MOST_NAMES ? [`${counts.size - MOST_NAMES} more`] : [];
  return [`${opening}: ${[...shown, ...more].join(", ")}.`];
}
const MOST_NAMES = 30;

/** Notes that are not reported. */
export const noNotes: RowNotes = { passedOver: () => {}, droppedNull: () => {}, sentences: () => [] };
