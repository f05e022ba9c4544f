/** @file What sampling takes, apart from the schema: the command line says it too, and loads no schemas to do so. */

/** Of at least `least`, greater than `above`, at most `most`. */
export interface Range {
  readonly least?: number;
  readonly above?: number;
  readonly most?: number;
}

export const RANGES = {
  temperature: { least: 0 },
  topP: { above: 0, most: 1 },
  minP: { least: 0, most: 1 },
  repetitionPenalty: { above: 0 },
  frequencyPenalty: { least: -2, most: 2 },
  presencePenalty: { least: -2, most: 2 },
} as const satisfies Readonly<Record<string, Range>>;
