// Pre-trains the wider base of the study on public data: a Llama of width 256, on one core in about an hour.
// Run it with: npm run build && node recipes/wide-base.mjs --data PUBLIC-DATA --tokenizer GPT2-FOLDER --out FOLDER [--rounds 4]
// A stopped run goes on where it was; with more rounds a finished one goes on too. --trial trains very little, to test that all parts work.
import { parseArgs } from "node:util";
import { makeWideBase } from "../dist/studies/wide-base.js";

const { values: flags } = parseArgs({
  options: {
    data: { type: "string", default: "../shared/data" },
    tokenizer: { type: "string", default: "../shared/tokenizers/gpt2" },
    out: { type: "string", default: "demo-out/wide-base" },
    rounds: { type: "string", default: "4" },
    trial: { type: "boolean" },
  },
});
const time = () => new Date().toISOString().slice(11, 19);
const onProgress = ({ step, steps, loss, tokensPerSecond, secondsLeft }) => {
  if (step % 5 === 0)
    console.log(
      `${time()} ${step}/${steps} loss ${loss.toFixed(3)} ${Math.round(tokensPerSecond)} tokens/s ${Math.round(secondsLeft)} s left`,
    );
};
const onRound = (name) => console.log(`${time()} ${name}`);
await makeWideBase(flags.out, `${flags.out}.work`, {
  data: flags.data,
  tokenizer: flags.tokenizer,
  rounds: Number(flags.rounds),
  hooks: { onProgress, onRound },
  ...(flags.trial && { steps: { round: 2, last: 2 } }),
});
console.log(`${time()} wrote ${flags.out}`);
