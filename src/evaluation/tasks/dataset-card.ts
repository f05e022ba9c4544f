/** @file The files of each configuration and split, from the YAML at the top of a dataset's README.md:
 *
 *    configs:
 *    - config_name: default
 *      default: true                        # the one that is meant when none is named
 *      data_dir: folder                     # its files lie there, their names say the split; or
 *      data_files: "data/*.csv"             # one pattern or several: the split train; or
 *      data_files:
 *      - split: test
 *        path: ["test/*.parquet", "extra.parquet"]
 *
 *  Reference: huggingface.co/docs/hub/datasets-manual-configuration. */

import { parse } from "yaml";
import { z } from "zod";
import { DataError } from "../../base/errors.ts";

/** Patterns of a dataset's paths, by split. */
export type SplitPatterns = ReadonlyMap<string, readonly string[]>;

export interface CardConfig {
  readonly name: string;
  readonly isDefault: boolean;
  readonly folder?: string;
  readonly patterns?: SplitPatterns;
}

const patterns = z.union([z.string(), z.array(z.string())]).transform((value) => [value].flat());
const dataFiles = z.union([
  patterns.transform((train) => new Map([["train", train]])),
  z.array(z.object({ split: z.string(), path: patterns })).transform((list) => new Map(list.map(({ split, path }) => [split, path]))),
  z.record(z.string(), patterns).transform((record) => new Map(Object.entries(record))),
]);
const configSchema = z.object({
  config_name: z.string(),
  default: z.boolean().default(false),
  data_dir: z.string().optional(),
  data_files: dataFiles.optional(),
});

/** `data_files` in any of its forms, from the card or from dataset_kwargs. */
export const dataFilesSchema = dataFiles;

/** The configurations whose files the README lists; none without such a list. */
export function cardConfigs(readme: string, where: string): CardConfig[] {
  const configs = z.object({ configs: z.array(z.unknown()) }).safeParse(frontMatter(readme));
  if (!configs.success) return [];
  // Old cards list only names here, without files.
  const described = configs.data.configs.filter((config) => typeof config !== "string");
  const result = z.array(configSchema).safeParse(described);
  if (!result.success) {
    const what = `The list configs in this dataset's README is not as it should be. ${z.prettifyError(result.error)}`;
    throw new DataError({
      code: "dataset-bad-card",
      what,
      where,
      fix: "Give the folder of a local copy of the data, with the list mended or without it.",
    });
  }
  return result.data
    .filter(({ data_dir, data_files }) => data_dir !== undefined || data_files !== undefined)
    .map(({ config_name, default: isDefault, data_dir, data_files }) => ({
      name: config_name,
      isDefault,
      ...(data_dir !== undefined && { folder: data_dir }),
      ...(data_files && { patterns: data_files }),
    }));
}

function frontMatter(readme: string): unknown {
  const [, text] = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---[ \t]*(\r?\n|$)/.exec(readme) ?? [];
  if (text === undefined) return undefined;
  try {
    return parse(text, { logLevel: "silent" });
  } catch {
    return undefined; // not YAML: it names no files
  }
}

/** The configuration with this name; without a name, the card's default, "default", or the only one. */
export function namedConfig(configs: readonly CardConfig[], name: string | undefined): CardConfig | undefined {
  if (name !== undefined) return configs.find((config) => config.name === name);
  const usual = configs.find(({ isDefault }) => isDefault) ?? configs.find((config) => config.name === "default");
  return usual ?? (configs.length === 1 ? configs[0] : undefined);
}

/** The paths that match a card's pattern: * and ? stay within a folder, ** does not, [ab] is one of these characters, {a,b} either text. */
export function matchingPaths(paths: readonly string[], pattern: string): string[] {
  const plain = pattern.replace(/^\.?\/+/, "");
  if (paths.includes(plain)) return [plain];
  const expression = globExpression(plain);
  return paths.filter((path) => expression.test(path));
}

function globExpression(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/|\*\*|\*|\?|\[!?[^\]]+\]|\{[^{}]*\}|[\s\S]/g, (part) => {
    if (part === "**/") return "(?:.*/)?";
    if (part === "**") return ".*";
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    if (part.length > 2 && part.startsWith("["))
      return `[${part
        .slice(1, -1)
        .replace(/^!/, "^")
        .replace(/[\\\]]/g, "\\$&")}]`;
    if (part.length > 1) return `(?:${part.slice(1, -1).split(",").map(escaped).join("|")})`;
    return escaped(part);
  });
  return new RegExp(`^${source}$`);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
