/** @file The core does not use Node: a bundler for browsers bundles all of it, and the bundle runs with only the web's globals. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, Script } from "node:vm";
import { type OutputChunk, rolldown } from "rolldown";
import { expect, test } from "vitest";
import { openCheckpoint } from "../src/checkpoint/checkpoint.ts";
import * as core from "./browser-core.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDERS = ["base", "graph", "autodiff", "text", "models", "adapters", "routing", "generation"];
const LOADER = "text/load-tokenizer.ts";
const MODEL = "tests/golden/llama/model";
const ADAPTER = "tests/golden/llama/adapter_step5";

/** Bundles files for a browser. The warnings name imports that the bundler could not resolve. */
async function bundled(input: readonly string[], format: "esm" | "iife"): Promise<{ chunks: OutputChunk[]; warnings: string[] }> {
  const warnings: string[] = [];
  const bundle = await rolldown({
    input: [...input],
    cwd: ROOT,
    platform: "browser",
    onLog: (_, { message }) => warnings.push(message),
  });
  const { output } = await bundle.generate(format === "iife" ? { format, name: "core" } : { format });
  await bundle.close();
  return { chunks: output.filter((one) => one.type === "chunk"), warnings };
}

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, "src", folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/\.(test|test-helper|contract)\.ts$/.test(name))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((place) => place !== LOADER)
    .map((place) => `src/${place}`);
}

test("every file of the core bundles for browsers, without an import that is left", async () => {
  const { chunks, warnings } = await bundled(FOLDERS.flatMap(sources), "esm");
  expect(warnings).toEqual([]);
  const own = new Set(chunks.map(({ fileName }) => fileName));
  const left = chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports]).filter((name) => !own.has(name));
  expect(left).toEqual([]);
  expect(chunks.map(({ code }) => code).join("\n")).not.toMatch(/["']node:|\brequire\(/);
}, 60_000);

test("outside Node it builds the graph and the token ids that it builds in Node", async () => {
  const { chunks, warnings } = await bundled(["tests/browser-core.ts"], "iife");
  expect(warnings).toEqual([]);
  const { config, tensors } = await openCheckpoint(MODEL);
  const adapter = {
    config: readFileSync(`${ADAPTER}/adapter_config.json`, "utf8"),
    tensors: new Uint8Array(readFileSync(`${ADAPTER}/adapter_model.safetensors`)),
  };
  const files = { base: { config, tensors: [...tensors.keys()] }, adapter };
  const tokenizer = JSON.parse(readFileSync("tests/golden/tokenizers/tinystories/tokenizer.json", "utf8"));
  const text = "Once upon a time there was a goose.";

  // The context has JavaScript's own globals; of the web's globals it gets only these.
  const page = createContext({ TextDecoder, TextEncoder, atob, btoa, files: { ...files }, tokenizer, text });
  expect(new Script("typeof process + typeof Buffer").runInContext(page)).toBe("undefinedundefined");
  new Script(`${chunks[0]!.code}; globalThis.core = core;`).runInContext(page);
  const bytes: Uint8Array = await new Script("core.forwardGraph(files)").runInContext(page);
  const ids: number[] = new Script("core.tokenIds(tokenizer, text)").runInContext(page);
  expect(Buffer.from(bytes).equals(Buffer.from(await core.forwardGraph(files)))).toBe(true);
  expect([...ids]).toEqual(core.tokenIds(tokenizer, text));
  expect(ids.length).toBeGreaterThan(5);
}, 60_000);
