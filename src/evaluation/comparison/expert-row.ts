/** @file The row that a single expert has among the results of a comparison: "expert <name>". */

const PREFIX = "expert ";

/** The row of a single expert. */
export const expertRow = ({ name }: { readonly name: string }) => `${PREFIX}${name}`;

/** The name of the expert whose row this is; undefined for the row of another method. */
export function expertOfRow(row: string): string | undefined {
  return row.startsWith(PREFIX) ? row.slice(PREFIX.length) : undefined;
}
