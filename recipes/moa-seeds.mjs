// The Mixture-of-LoRAs demo over several seeds, ablations included: results/moa-seeds.json, .md and -accuracy.svg.
// Run it with: npm run build && node recipes/moa-seeds.mjs 1 2 3 4 5      (a stopped run continues; its files are in demo-out/moa-seeds/)
// --summary only writes the results of the seeds that are finished.
import { parseArgs } from "node:util";
import { runMoaDemo } from "../dist/demo/moa-demo.js";
import { overMoaSeeds } from "./moa-results.mjs";

const { values: flags, positionals } = parseArgs({ allowPositionals: true, options: { summary: { type: "boolean" } } });
await overMoaSeeds({
  seeds: positionals,
  usage: "node recipes/moa-seeds.mjs 1 2 3 4 5",
  summary: flags.summary,
  name: "moa-seeds",
  run: (out, seed, onPart) => runMoaDemo({ out, seed, ablations: true, onPart }),
  report: {
    title: "Mixture-of-LoRAs on the demo's five domains",
    about: "Made by `recipes/moa-seeds.mjs`; how the domains are made and what was chosen on other seeds: docs/guide/mixture-of-loras.md.",
    metric: "exactMatch",
  },
});
