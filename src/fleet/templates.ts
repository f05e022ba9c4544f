/** @file Templates of promptsource over a dataset's rows: every template for every row, or one for each row in turn. */

import { join } from "node:path";
import type { Row } from "../data/row.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { type PromptTemplate, readPromptTemplates, selectTemplates } from "../evaluation/tasks/promptsource.ts";
import { folderListing } from "../hub/listing.ts";
import { exists } from "../storage/files.ts";
import { unknownName } from "./recipe-file.ts";
import type { Templates } from "./recipe-schema.ts";

/** The file with a dataset's templates. */
export function templatesFile(path: string, dataFolder: string): string {
  return join(dataFolder, "promptsource", path, "templates.yaml");
}

/** The templates that a recipe chooses; a name that its file does not have is an error at `where`, with the nearest names. */
export async function templatesOf(templates: Templates, dataFolder: string, where: string): Promise<PromptTemplate[]> {
  const { path = "", use = "all", only, ignore = [] } = templates;
  const file = templatesFile(path, dataFolder);
  if (!(await exists(file))) {
    const { paths } = await folderListing(join(dataFolder, "promptsource"));
    const known = paths.filter((one) => one.endsWith("/templates.yaml")).map((one) => one.slice(0, -"/templates.yaml".length));
    throw unknownName(`template file ${file} of`, path, known, where);
  }
  const all = await readPromptTemplates(file);
  const names = all.map(({ name }) => name);
  const unknown = [...(only ?? []), ...ignore].find((name) => !names.includes(name));
  if (unknown !== undefined) throw unknownName(`template of ${path}`, unknown, names, where);
  return selectTemplates(all, { originalTask: use === "original", ignore }).filter(({ name }) => !only || only.includes(name));
}

/** Pairs of the rows under the templates; `without`: how many give no input or target. */
export function withTemplates(
  rows: readonly Row[],
  templates: readonly PromptTemplate[],
  roundRobin: boolean,
): { examples: TrainingExample[]; without: number } {
  const examples: TrainingExample[] = [];
  let without = 0;
  for (const [i, row] of rows.entries()) {
    for (const template of roundRobin ? [templates[i % templates.length]!] : templates) {
      const { input, target } = template.apply(row);
      if (target.trim() === "" || NOTHING.includes(target)) without++;
      else examples.push({ kind: "pair", input, target });
    }
  }
  return { examples, without };
}

/** What promptsource's authors write where a template gives nothing for a row. */
const NOTHING = ["<NO INPUT>", "<NO LABEL>"];
