// Writes the small variant of the public data: at most 200 rows of each set, split into training, validation and test rows by content.
// Run it with: npm run build && node recipes/public-data.mjs --data PUBLIC-DATA --out FOLDER
import { parseArgs } from "node:util";
import { writePublicData } from "../dist/studies/public-data.js";

const { values: flags } = parseArgs({
  options: { data: { type: "string", default: "../shared/data" }, out: { type: "string", default: "demo-out/public-data" } },
});
await writePublicData(flags.data, flags.out);
console.log(`Wrote ${flags.out}.`);
