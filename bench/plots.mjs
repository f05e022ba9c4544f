/** @file Draws how the cost of a token grows with the number of experts, the batch, the length of a prompt and the width of the base, from the result
 *  of a run of `npm run bench`.
 *
 *      node bench/plots.mjs RESULT.json [FOLDER]        FOLDER: docs/images by default; needs npm run build
 *
 *  A curve without at least two measured points is left out. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chartSvg } from "../dist/evaluation/report/chart-file.js";
import { CURVE_NAMES, CURVES, EXPERTS, withExperts } from "./variants.mjs";

const [result, folder = "docs/images"] = process.argv.slice(2);
const { variants } = JSON.parse(readFileSync(result, "utf8"));

const AXES = {
  experts: { title: "A decoding step, batch 1, by the number of experts", x: "experts", y: "ms a step" },
  batch: { title: "A decoding step by the size of the batch", x: "rows", y: "ms a step" },
  length: { title: "Reading a prompt by its length", x: "tokens", y: "ms" },
  width: { title: "A decoding step, batch 1, by the width of the base (8 layers)", x: "width", y: "ms a step" },
};

for (const [name, axes] of Object.entries(AXES)) {
  const svg = chartSvg({ ...axes, logarithmicX: true, series: seriesOf(name).filter(({ points }) => points.length > 1) });
  if (!svg) {
    console.error(`${name}: too few points in ${result}`);
    continue;
  }
  const file = join(folder, `cost-by-${name}.svg`);
  writeFileSync(file, svg);
  console.log(file);
}

function seriesOf(name) {
  const points = (variantOf) =>
    CURVES[name].flatMap((x) => {
      const found = variants[variantOf(x)];
      return found ? [{ x, y: found.medianMs }] : [];
    });
  if (name !== "experts") {
    return [
      { name: "base", points: points(CURVE_NAMES[name]) },
      { name: `routed among ${EXPERTS} experts`, points: points((x) => withExperts(CURVE_NAMES[name](x))) },
    ];
  }
  return [
    { name: "base", points: points(() => CURVE_NAMES.batch(1)) },
    { name: "routed", points: points(CURVE_NAMES.experts) },
  ];
}
