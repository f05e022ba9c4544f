/** @file The tables that `npm run bench` prints. */

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What is said before the figures of a device that docs/performance.md has none of. */
export function unmeasuredNote(device) {
  return `On ${device}. Nobody has measured Skein on a GPU yet: docs/performance.md has no figures to compare these with.\n`;
}

/** All variants of a report, one a line. */
export function variantTable({ device, variants, peers, baseMb, torchRuns }, descriptions) {
  const rows = [[`on ${device}`, "median ms", "to base", "to peer", "peer's ms", "peak MB", "of it mapped", "peer"]];
  for (const [name, { medianMs, peakMb, mappedMb }] of Object.entries(variants)) {
    const { base, peer, model } = descriptions[name];
    const ratio = (other) => (other === undefined ? "" : (medianMs / other).toFixed(2));
    const best = peer && peers[model]?.[peer];
    const own = [name, medianMs.toFixed(1), ratio(base && variants[base]?.medianMs), ratio(best?.ms), best ? best.ms.toFixed(1) : ""];
    rows.push([...own, String(peakMb), String(mappedMb), best?.name ?? ""]);
  }
  const last = rows[0].length - 1;
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const cellOf = (cell, i) => (i === 0 ? cell.padEnd(widths[i]) : i === last ? cell : cell.padStart(widths[i]));
  const lines = rows.map((row) => row.map(cellOf).join("  "));
  for (const [model, mb] of Object.entries(baseMb)) lines.push(`${model}: the base's weights are ${mb.toFixed(0)} MB`);
  for (const [model, { torch, tried }] of Object.entries(torchRuns)) {
    for (const [setting, { blasGflops }] of Object.entries(tried)) {
      lines.push(`PyTorch ${torch}, ${model}, ${setting}: a matrix product at ${blasGflops} GFLOP/s`);
    }
  }
  return lines.join("\n");
}
