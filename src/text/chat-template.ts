/** @file Reads a model's chat templates from chat_template.jinja (newer, takes precedence), or from chat_template in tokenizer_config.json,
 *  which is a template or a list of named ones. */

import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";

export const TEMPLATE_FILE = "chat_template.jinja";

const schema = z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).optional();

/** Chat templates by name; the one without a name is "default". */
export function parseChatTemplates({
  config,
  jinja,
  where,
}: {
  /** The content of tokenizer_config.json, and its name for messages. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly where: string;
  /** The text of chat_template.jinja, if there is one. */
  readonly jinja?: string | undefined;
}): Map<string, string> {
  const parsed = schema.safeParse(config.chat_template);
  if (!parsed.success) {
    throw new CheckpointError({
      code: "template-broken",
      what: "chat_template is neither text nor a list of { name, template }.",
      where,
      fix: "Correct or remove chat_template.",
    });
  }
  const named = typeof parsed.data === "string" ? [{ name: "default", template: parsed.data }] : (parsed.data ?? []);
  const templates = new Map(named.map(({ name, template }) => [name, template]));
  if (jinja !== undefined) templates.set("default", jinja);
  return templates;
}
