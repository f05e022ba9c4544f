/** @file The page of a pool's map: where its experts are, its clusters, twins, and experts that are never chosen. */

import type { PoolMap, Similarities, SimilarityKind } from "../comparison/pool-map.ts";
import { escaped } from "./html.ts";
import { markClass } from "./look.ts";
import { page } from "./page.ts";

const KINDS: Readonly<Record<SimilarityKind, string>> = {
  updates: "Similarity of updates",
  gates: "Similarity of gates",
  served: "Similarity of served tokens",
};

/** The whole page. */
export function poolPage(map: PoolMap, title: string): string {
  const { clusters, twins, neverChosen } = map;
  const items = [
    ...clusters.filter(({ experts }) => experts.length > 1).map(({ name, experts }) => `Cluster ${name}: ${experts.join(", ")}.`),
    ...twins.map(({ experts: [a, b], similarity }) => `Twins: ${a} and ${b} (${similarity.toFixed(2)}).`),
    neverChosen.length > 0 ? `Never chosen: ${neverChosen.join(", ")}.` : "Every expert is chosen for some token.",
  ];
  const lead = `<ul class="lead">${items.map((item) => `<li>${escaped(item)}</li>`).join("")}</ul>`;
  const about =
    "Near: alike in updates, gates and served tokens. A circle's area is its share of the routing weight; a color is a cluster.";
  const squares = Object.entries(map.similarities).map(([kind, square]) => ({
    title: KINDS[kind as SimilarityKind],
    about: "Darker: a larger cosine.",
    body: squareSvg(map.experts, square),
    folded: true,
  }));
  return page({ title, lead, sections: [{ title: "Map", about, body: mapSvg(map) }, ...squares] });
}

const [SIZE, MARGIN] = [560, 70];

/** The experts as circles. */
export function mapSvg({ experts, positions, shares, clusters }: PoolMap): string {
  const span = Math.max(...positions.flat().map(Math.abs), 1e-9);
  const at = (value: number) => Math.round(SIZE / 2 + (value / span) * (SIZE / 2 - MARGIN));
  const most = Math.max(...shares, 1e-9);
  const circles = experts.map((name, i) => {
    const [x, y] = positions[i]!.map(at) as [number, number];
    const cluster = clusters.findIndex((one) => one.experts.includes(name));
    const radius = 4 + 14 * Math.sqrt(shares[i]! / most);
    const tip = `${name}: ${(100 * shares[i]!).toFixed(1)} % of the weight, cluster ${clusters[cluster]?.name ?? ""}`;
    return `<g class="${markClass(cluster)}" data-tip="${escaped(tip)}"><circle cx="${x}" cy="${y}" r="${radius.toFixed(1)}" style="fill:var(--c)" fill-opacity=".6"/><text x="${x}" y="${y - radius - 3}" text-anchor="middle">${escaped(name)}</text></g>`;
  });
  return `<svg viewBox="0 0 ${SIZE} ${SIZE}" role="img">${circles.join("\n")}</svg>`;
}

const [CELL, LABEL] = [16, 130];

function squareSvg(names: readonly string[], square: Similarities): string {
  const size = LABEL + CELL * names.length;
  const rows = names.map((name, i) => {
    const y = LABEL + CELL * i;
    const cells = square[i]!.map((value, j) => {
      const tip = escaped(`${name}, ${names[j]}: ${value.toFixed(2)}`);
      return `<rect x="${LABEL + CELL * j}" y="${y}" width="${CELL - 1}" height="${CELL - 1}" style="fill:hsl(210 75% 45%)" fill-opacity="${Math.max(0, value).toFixed(2)}" data-tip="${tip}"/>`;
    });
    const x = LABEL + CELL * (i + 0.7);
    const head = `<text x="${x}" y="${LABEL - 5}" transform="rotate(-60 ${x} ${LABEL - 5})">${escaped(name)}</text>`;
    return `${head}<text x="${LABEL - 5}" y="${y + CELL - 4}" text-anchor="end">${escaped(name)}</text>${cells.join("")}`;
  });
  return `<div class="scroll"><svg viewBox="0 0 ${size} ${size}" style="max-width:${size}px" role="img">${rows.join("\n")}</svg></div>`;
}
