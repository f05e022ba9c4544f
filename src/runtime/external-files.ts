/** @file The folder and relative paths of a graph's external data. ONNX Runtime reads external data from one folder. */

import * as path from "node:path";
import type { Graph } from "../graph/value.ts";

/** The deepest folder that contains every file of the graph, and a file's path inside it. */
export function filesFolder(graph: Graph): { readonly folder: string; readonly locate: (file: string) => string } {
  const files = [...graph.initializers.values()].flatMap((initializer) => (initializer.kind === "file" ? [initializer.region.file] : []));
  const folders = [...new Set(files.map((file) => path.dirname(path.resolve(file))))];
  const folder = folders.reduce((a, b) => {
    let common = a;
    while (!`${b}/`.startsWith(common === "/" ? "/" : `${common}/`)) common = path.dirname(common);
    return common;
  }, folders[0] ?? process.cwd());
  return { folder, locate: (file) => path.relative(folder, file) };
}
