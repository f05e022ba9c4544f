/** @file The code that tests/browser.test.ts runs outside Node: from the contents of a model's and an adapter's files to the bytes of an
 *  ONNX graph, and from text to token ids. */

import { adapted } from "../src/adapters/in-graph.ts";
import { parseAdapter } from "../src/adapters/parse-adapter.ts";
import { createGraph } from "../src/graph/graph.ts";
import { serialize } from "../src/graph/onnx/serialize.ts";
import { baseSeams } from "../src/models/embedding.ts";
import { logitsOf, tracedModules } from "../src/models/logits.ts";
import { architectureOf } from "../src/models/registry.ts";
import { inputWeights } from "../src/models/weights.ts";
import { createHubTokenizer } from "../src/text/hub-tokenizer.ts";

type Json = Readonly<Record<string, unknown>>;

export interface Files {
  /** config.json, and the names of the tensors. */
  readonly base: { readonly config: Json; readonly tensors: readonly string[] };
  readonly adapter: { readonly config: string; readonly tensors: Uint8Array };
}

/** The forward pass of the base with the adapter on it, as ONNX bytes. */
export async function forwardGraph({ base, adapter: files }: Files): Promise<Uint8Array> {
  const tensors = new Map(base.tensors.map((name) => [name, name]));
  const architecture = architectureOf({ config: base.config, tensors, directory: "base" });
  const modules = tracedModules(architecture);
  const adapter = await parseAdapter(files, modules);
  const graph = createGraph("forward");
  const weights = inputWeights(graph, () => {});
  graph.output("logits", logitsOf(graph, architecture, { weights, ...adapted(baseSeams(weights), adapter, modules) }));
  return serialize(graph).bytes;
}

/** The token ids of a text, by the content of tokenizer.json. */
export function tokenIds(tokenizer: Json, text: string): number[] {
  return createHubTokenizer(tokenizer, { config: {}, templates: new Map(), where: "tokenizer.json" }).encode(text);
}
