/** @file How chat models write calls of tools, and what a forced call must look like.
 *
 *      hermes    <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>          Hermes, Qwen 2.5 and 3
 *      llama3    {"name": "f", "parameters": {...}}, <|python_tag|> before it or not   Llama 3.1 and 3.2
 *      mistral   [TOOL_CALLS] [{"name": "f", "arguments": {...}}]                      Mistral 7B v0.3, Nemo
 *                [TOOL_CALLS]f[ARGS]{...}                                              Mistral Small 3.1 and later */

import type { TextForm, ToolStyle } from "./backend.ts";

export interface FunctionTool {
  readonly function: { readonly name: string; readonly parameters?: unknown };
}

/** The words before a call's JSON. A forced call has them in its prompt. */
export function callOpening(style: ToolStyle): string {
  return { hermes: "<tool_call>\n", llama3: "", mistral: "[TOOL_CALLS] " }[style];
}

/** What a forced call must be, behind its opening words: any of the tools, or the one of this name. */
export function callForm(style: ToolStyle, tools: readonly FunctionTool[], name: string | undefined): TextForm {
  const chosen = tools.filter((tool) => name === undefined || tool.function.name === name);
  const key = style === "llama3" ? "parameters" : "arguments";
  const calls = chosen.map(({ function: { name, parameters } }) => ({
    type: "object",
    properties: { name: { const: name }, [key]: parameters ?? { type: "object" } },
    required: ["name", key],
    additionalProperties: false,
  }));
  const call = calls.length === 1 ? calls[0] : { anyOf: calls };
  return { kind: "json-schema", schema: style === "mistral" ? { type: "array", items: call, minItems: 1, maxItems: 1 } : call };
}
