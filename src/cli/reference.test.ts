import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type * as z from "zod";
import { mergeOptions } from "../adapters/merge-options.ts";
import { evaluationOptions } from "../evaluation/comparison/evaluation-options.ts";
import { judgeOptions } from "../evaluation/comparison/judge.ts";
import { scoreOptions } from "../evaluation/metrics/score.ts";
import { generationSchema } from "../generation/options.ts";
import { METHODS } from "../methods/registry.ts";
import { wovenOptions } from "../methods/woven-options.ts";
import { searchOptions } from "../routing/lorahub.ts";
import { expertRecipe, fullRecipe, gateRecipe, moaRecipe } from "../training/recipe.ts";
import { statisticsOptions } from "../training/statistics.ts";
import { skein } from "./captured-io.test-helper.ts";
import { COMMANDS } from "./command-list.ts";
import { type Field, fieldsOf } from "./schema-options.ts";

const GENERATED = "This page is generated from the schemas that options are parsed with.";

/** What each options object is for, and its schema. */
const OPTIONS: readonly (readonly [title: string, about: string, schema: z.ZodObject])[] = [
  ["A model", "Of `loadModel(base, options)` and `model.with(options)`.", wovenOptions],
  ["Generation", "Of `model.generate(prompt, options)`. Defaults of the model stand in its generation_config.json.", generationSchema],
  ["Training an expert", "Of `trainExpert({ ..., options })`.", expertRecipe],
  ["Training gates", "Of `trainGate({ ..., options })`.", gateRecipe],
  ["Training every weight", "Of `trainFull({ ..., options })`.", fullRecipe],
  ["Training a Mixture of LoRAs", "Of `trainMoa({ ..., options })`.", moaRecipe],
  ["Statistics of an expert", "Of `gatherStatistics({ ..., ...options })`.", statisticsOptions],
  ["LoraHub", "Of `lorahub(model, experts, examples, options)`.", searchOptions],
  ["Merging", "The fields of a `MergeMethod` (its `kind` is `method` here), and the weights of `mergeAdapters`.", mergeOptions],
  ["Evaluation", "Of `evaluate({ ..., ...options })`.", evaluationOptions],
  ["Judging", "Of a judge behind an endpoint.", judgeOptions],
  ["Scoring predictions", "Of a file of predictions.", scoreOptions],
];

test("docs/reference/options.md says what the schemas say", () => {
  const methods = METHODS.map(({ name, description, needs, options, otherNames = {} }): readonly [string, string, z.ZodObject] => {
    const others = Object.keys(otherNames);
    const also = others.length > 0 ? ` Also by the names ${others.join(", ")}.` : "";
    return [`Method ${name}`, `${description} It needs ${needs}.${also}`, options];
  });
  const sections = [...OPTIONS, ...methods].map(([title, about, schema]) => `## ${title}\n\n${about}\n\n${tableOf(schema)}`);
  expectFresh("options.md", ["# Options of the library", GENERATED, ...sections].join("\n\n"));
});

test("docs/reference/cli.md is what --help says", async () => {
  const lines = ["# Command line", `${GENERATED} It is what \`--help\` prints.`];
  for (const path of await leaves()) {
    const { out } = await skein(...path, "--help");
    lines.push(`## skein ${path.join(" ")}`, `\`\`\`text\n${out.trimEnd()}\n\`\`\``);
  }
  expectFresh("cli.md", lines.join("\n\n"));
});

test("a flag of one name means the same wherever it occurs", async () => {
  const meanings = new Map<string, Set<string>>();
  for (const path of await leaves()) {
    const help = (await skein(...path, "--help")).out.replace(/\n {10,}/g, " ");
    for (const [, flag, value] of help.matchAll(/^ {2}(--[a-z-]+)(?: <([^>]+)>)?/gm)) {
      meanings.set(flag!, (meanings.get(flag!) ?? new Set()).add(value ?? ""));
    }
  }
  const several = [...meanings].filter(([flag, values]) => values.size > 1 && !MANY_VALUES.has(flag));
  expect(several).toEqual([]);
});

// Examples and results are a file, a folder, or a file for each domain. An adapter that is served has a name too, as in other servers.
const MANY_VALUES = new Set(["--data", "--out", "--validation", "--adapter"]);

/** Every command that does something. */
async function leaves(): Promise<string[][]> {
  const below = async (path: readonly string[]): Promise<string[][]> => {
    const listed = (await skein(...path, "--help")).out.split("Commands:\n")[1] ?? "";
    const names = [...listed.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name!);
    const own = listed === "" || path[0] === "demo" ? [[...path]] : [];
    return [...own, ...(await Promise.all(names.map((name) => below([...path, name])))).flat()];
  };
  return (await Promise.all(COMMANDS.map(({ name }) => below([name])))).flat();
}

function tableOf(schema: z.ZodObject): string {
  const { fields, required } = fieldsOf(schema);
  if (fields.length === 0) return "It has no options.";
  const rows = fields.map(
    ([name, field]) => `| \`${name}\` | ${typeOf(field)} | ${defaultOf(field, required.has(name))} | ${aboutOf(field)} |`,
  );
  return ["| option | type | default | what it does |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function typeOf(field: Field): string {
  if (field.enum) return field.enum.map((word) => `\`"${word}"\``).join(", ");
  if (field.oneOf) return field.oneOf.map(({ properties }) => `\`{ kind: "${properties?.kind?.const}", ... }\``).join(", ");
  if (field.anyOf) return field.anyOf.map(typeOf).join(", or ");
  if (field.type === "array") return `list of ${typeOf(field.items ?? {})}`;
  if (field.type === "object") return "object";
  const { minimum, exclusiveMinimum: above, maximum, exclusiveMaximum: below } = field;
  const bounds = [
    ...(minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? [] : [`at least ${minimum}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? [] : [`at most ${maximum}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ];
  const name = field.type === "integer" ? "whole number" : field.type === "string" ? "text" : (field.type ?? "any");
  return [name, ...bounds].join(", ");
}

function defaultOf({ default: standard, unset }: Field, isRequired: boolean): string {
  if (unset !== undefined) return unset;
  if (isRequired) return "required";
  return standard === undefined ? "" : `\`${JSON.stringify(standard)}\``;
}

function aboutOf({ description = "", oneOf: kinds = [] }: Field): string {
  return [description, ...kinds.map(({ description: kind = "", properties }) => `${properties?.kind?.const}: ${kind}`)]
    .join(" ")
    .replaceAll("|", "\\|");
}

function expectFresh(name: string, text: string): void {
  const path = fileURLToPath(new URL(`../../docs/reference/${name}`, import.meta.url));
  if (process.env.UPDATE_GOLDEN) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${text}\n`);
  }
  expect(readFileSync(path, "utf8")).toBe(`${text}\n`);
}
