/** @file Perplexity of a text in each precision of a base model.
 *
 *      node bench/precision-quality.mjs BASE TEXT_FILE */

import { readFile } from "node:fs/promises";
import { loadModel } from "../dist/library/model.js";

const [base, file] = process.argv.slice(2);
if (file === undefined) {
  console.error("usage: node bench/precision-quality.mjs BASE TEXT_FILE");
  process.exit(1);
}
const text = (await readFile(file, "utf8")).trim();
const rows = [];
for (const precision of ["float32", "int8", "int4"]) {
  const model = await loadModel(base, { precision });
  const tokens = (await model.tokenizer()).encode(text).length;
  const [{ sum }] = await model.score([{ context: "", continuation: text }]);
  rows.push({ precision, tokens, perplexity: Math.exp(-sum / tokens).toFixed(4) });
  await model.dispose();
}
console.table(rows);
