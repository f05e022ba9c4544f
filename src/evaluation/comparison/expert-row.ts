/** @file The row of a single expert in the results of a comparison: "expert <name>". */

const PREFIX = "expert ";

/** The row of a single expert. */
export const expertRow = ({ name }: { readonly name: string }) => `${PREFIX}${name}`;

/** The name of the expert of this row; undefined for the row of another method. */
export function expertOfRow(row: string): string | undefined {
  return row.startsWith(PREFIX) ? row.slice(PREFIX.length) : undefined;
}
