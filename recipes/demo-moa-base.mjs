// Makes assets/demo-moa-base, the Llama that the Mixture-of-LoRAs demo starts from, from nothing: text, tokenizer and weights.
// Run it with: npm run build && node recipes/demo-moa-base.mjs [folder]   (some minutes on two cores; a stopped run resumes)
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { makeMoaBase } from "../dist/demo/moa-base.js";

const out = process.argv[2] ?? fileURLToPath(new URL("../assets/demo-moa-base", import.meta.url));
const work = fileURLToPath(new URL("../runs/demo-moa-base", import.meta.url));
await mkdir(out, { recursive: true });
const onProgress = ({ step, steps, loss, secondsLeft }) => {
  if (step % 50 === 0) console.log(`${step}/${steps}  loss ${loss.toFixed(4)}  ${Math.round(secondsLeft)} s left`);
};
await makeMoaBase(out, work, { hooks: { onProgress } });
console.log(`Wrote ${out}.`);
