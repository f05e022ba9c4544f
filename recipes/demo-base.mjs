// Makes assets/demo-base, the T5 that the demo starts from, from nothing: text, tokenizer and weights.
// Run it with: npm run build && node recipes/demo-base.mjs [folder]   (about 3 minutes on two cores; a stopped run resumes)
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { makeBase } from "../dist/demo/base.js";

const out = process.argv[2] ?? fileURLToPath(new URL("../assets/demo-base", import.meta.url));
const work = fileURLToPath(new URL("../runs/demo-base", import.meta.url));
await mkdir(out, { recursive: true });
const onProgress = ({ step, steps, loss, secondsLeft }) => {
  if (step % 50 === 0) console.log(`${step}/${steps}  loss ${loss.toFixed(4)}  ${Math.round(secondsLeft)} s left`);
};
await makeBase(out, work, { hooks: { onProgress } });
console.log(`Wrote ${out}.`);
