/** @file Where a model keeps its chat templates: chat_template.jinja (newer, wins), or chat_template in tokenizer_config.json, which is
 *  a template or a list of named ones. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { codeOf } from "../checkpoint/atomic.ts";

const schema = z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).optional();

/** Chat templates by name; the one without a name is "default". */
export async function chatTemplates(directory: string, config: Readonly<Record<string, unknown>>): Promise<Map<string, string>> {
  const parsed = schema.safeParse(config.chat_template);
  if (!parsed.success) {
    throw new CheckpointError({
      code: "template-broken",
      what: "chat_template is neither text nor a list of { name, template }.",
      where: join(directory, "tokenizer_config.json"),
      fix: "Mend or remove chat_template.",
    });
  }
  const named = typeof parsed.data === "string" ? [{ name: "default", template: parsed.data }] : (parsed.data ?? []);
  const templates = new Map(named.map(({ name, template }) => [name, template]));
  try {
    templates.set("default", await readFile(join(directory, "chat_template.jinja"), "utf8"));
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  return templates;
}
