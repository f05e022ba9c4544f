import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { madeUpEvaluation } from "../comparison/evaluation.test-helper.ts";
import type { RouteUsage } from "../scoring/route-usage.ts";
import type { Trace } from "../scoring/trace.ts";
import { chartFigure } from "./curves.ts";
import { byLayer, shortName } from "./modules.ts";
import { copyCurves, readCurves } from "./read-curves.ts";
import { reportPage } from "./report.ts";
import { tracePage } from "./trace-page.ts";

const EVIL = `<script>alert("x")</script>'&`;
const modules = ["encoder.block.0.layer.0.SelfAttention.q", "encoder.block.1.layer.1.DenseReluDense.wo"];
const trace: Trace = {
  prompt: EVIL,
  completion: EVIL,
  experts: [EVIL, "sort", "capitals"],
  parts: [
    {
      name: "input",
      tokens: [EVIL, "b"],
      modules: modules.map((module) => ({
        module,
        experts: [
          [0, 2],
          [1, 0],
        ],
        weights: [
          [0.7, 0.3],
          [0.9, 0.1],
        ],
      })),
    },
  ],
};
const evaluation = { ...madeUpEvaluation(), experts: [EVIL, "sort", "capitals"] };
const usage: RouteUsage = {
  router: EVIL,
  experts: evaluation.experts,
  tasks: evaluation.tasks.map(({ name }) => ({ task: name, modules: modules.map((module) => ({ module, use: [0.5, 0.25, 0.25] })) })),
};
const chart = {
  title: EVIL,
  x: "step",
  y: "loss",
  series: [
    {
      name: EVIL,
      points: [
        { x: 0, y: 2 },
        { x: 1, y: 1, error: 0.1 },
      ],
    },
  ],
};
const page = reportPage({
  title: EVIL,
  evaluation,
  trace,
  usage: [usage, { ...usage, router: "arrow" }],
  curves: [chart],
  sweeps: [chart],
});

/** Checks that tags are opened and closed in order. */
function expectBalanced(html: string) {
  const open: string[] = [];
  const empty = new Set(["meta", "br", "!doctype"]);
  for (const [tag, closing, name, own] of html
    .replace(/<(style|script)>[\s\S]*?<\/\1>/g, "")
    .matchAll(/<(\/?)(!?[a-z][a-z0-9]*)[^>]*?(\/?)>/g)) {
    if (own || empty.has(name!)) continue;
    if (!closing) open.push(name!);
    else expect(open.pop(), tag).toBe(name);
  }
  expect(open).toEqual([]);
}

test("the report is well-formed, and text from outside stays text", () => {
  expectBalanced(page);
  expectBalanced(tracePage(trace));
  expect(page).not.toContain("<script>alert");
  expect(page.match(/<script>/g)).toHaveLength(1);
  expect(page.match(/data-tip="[^"]*"/g)!.every((tip) => !/[<>']/.test(tip))).toBe(true);
});

test("a layer's name is as short as its columns need, and whole in its tip", () => {
  const [part] = trace.parts;
  const named = (count: number) => {
    const own = Array.from({ length: count }, (_, i) => ({ ...part!.modules[0]!, module: `decoder.block.0.layer.0.SelfAttention.m${i}` }));
    return /class="layer"[^>]* data-tip="(.*?)">(.*?)</.exec(tracePage({ ...trace, parts: [{ ...part!, modules: own }] }))?.slice(1);
  };
  expect([1, 2, 4].map(named)).toEqual(["0", "d 0", "decoder 0"].map((short) => ["decoder 0", short]));
});

test("nothing is fetched from elsewhere", () => {
  expect(page).not.toMatch(/(?:src|href)=|url\(|@import|https?:/);
});

test("every task, method and expert has its place", () => {
  for (const { name } of evaluation.tasks) expect(page).toContain(`<th scope="row">${name}</th>`); // expert use
  expect(page).toContain('<th scope="row">choose<small>accuracy, 20 examples</small></th>');
  for (const name of ["base", "merged", "multitask", "phatgoose"]) expect(page).toContain(`<th scope="row">${name}</th>`);
  expect(page).toContain('<th scope="rowgroup" colspan="6">held out</th>');
  expect(page).toContain('oracle <sup data-tip="oracle: chosen by its results">†</sup>');
});

test("every router has its section, the first one open, with every task's layers", () => {
  expect(page.match(/<h2>Which experts serve which tasks: /g)).toHaveLength(1);
  expect(page).toContain("<summary>Which experts serve which tasks: arrow</summary>");
  expect(page.match(/<summary>By task and layer<\/summary>/g)).toHaveLength(2);
  const both = page.split("<summary>By task and layer</summary>")[1]!.split("</details>")[0]!;
  for (const { name } of evaluation.tasks) expect(both).toContain(`colspan="5">${name}</th>`);
  expect(both.match(/<th scope="row">(?:encoder 0|encoder 1)<\/th>/g)).toHaveLength(2 * evaluation.tasks.length);
});

test("a method keeps its color from one sweep to the next, and settings and per cents are what the axes name", () => {
  const points = [
    { x: 1, y: 0.25, error: 0.01 },
    { x: 8, y: 0.5 },
  ];
  const sweep = (...names: string[]) => ({
    title: "t",
    x: "experts",
    y: "score",
    percent: true,
    series: names.map((name) => ({ name, points })),
  });
  const both = reportPage({ evaluation, sweeps: [sweep("spectr", "arrow"), sweep("merged", "arrow", "spectr")] });
  const marksOf = (name: string) => [...both.matchAll(new RegExp(`expert (k\\d+ [^"]*)">${name}</span>`, "g"))].map(([, mark]) => mark);
  expect(marksOf("arrow")).toHaveLength(2);
  for (const name of ["arrow", "spectr"]) expect(new Set(marksOf(name)).size).toBe(1);
  expect(new Set(["arrow", "spectr", "merged"].map((name) => marksOf(name)[0])).size).toBe(3);
  const others = reportPage({ evaluation, sweeps: [sweep("retrieval", "merged", "arrow:temperature=1", "arrow")] });
  expect(others).toContain(`expert ${marksOf("arrow")[0]}">arrow</span>`);
  const svg = chartFigure(sweep("arrow"));
  expect([...svg.matchAll(/text-anchor="middle">([^<]*)</g)].map(([, text]) => text)).toEqual(["1", "8"]);
  expect(svg).toContain(">50 %</text>");
  expect(svg).toContain("arrow: 25 % at 1");
});

test("means say what they leave out", () => {
  const task = evaluation.tasks[0]!.name;
  const methods = evaluation.methods.map((method) => ({
    ...method,
    tasks: { ...method.tasks, [task]: { ...method.tasks[task]!, lowerIsBetter: true } },
  }));
  expect(page).not.toContain("Means leave out");
  expect(reportPage({ evaluation: { ...evaluation, methods } })).toContain(`Means leave out what is no share: ${task}.`);
});

test("modules stand in their layers", () => {
  const names = [
    "encoder.block.0.layer.0.SelfAttention.q",
    "encoder.block.0.layer.1.DenseReluDense.wi_0",
    "decoder.block.11.layer.1.EncDecAttention.k",
    "lm_head",
  ];
  expect(byLayer(names).map(({ layer, modules: own }) => [layer, own.length])).toEqual([
    ["encoder 0", 2],
    ["decoder 11", 1],
    ["lm_head", 1],
  ]);
  expect(names.map(shortName)).toEqual(["SelfAttention.q", "DenseReluDense.wi_0", "EncDecAttention.k", "lm_head"]);
  expect(byLayer(["model.layers.3.self_attn.q_proj", "transformer.h.4.mlp.w1"]).map(({ layer }) => layer)).toEqual(["layer 3", "layer 4"]);
  expect(shortName("model.layers.3.self_attn.q_proj")).toBe("self_attn.q_proj");
});

test("curves are read from runs, one chart for each kind of training", async () => {
  const folder = await mkdtemp(join(tmpdir(), "skein-curves-"));
  const write = async (name: string, kind: string, lines: readonly object[]) => {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, "config.json"), JSON.stringify({ kind }));
    await writeFile(join(folder, name, "metrics.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  };
  await write("sort", "lora", [
    { step: 0, validationLoss: 3 },
    { step: 1, loss: 2.5, lr: 0.1 },
    { step: 2, loss: 2 },
  ]);
  await write("sort-gates", "gate", [{ step: 1, loss: 1 }]);
  await mkdir(join(folder, "not-a-run"));
  await writeFile(join(folder, "sort", "state.safetensors"), "large");
  const charts = await readCurves(folder);
  const copy = await mkdtemp(join(tmpdir(), "skein-curves-"));
  await copyCurves(folder, copy);
  expect(await readCurves(copy)).toEqual(charts);
  expect((await readdir(join(copy, "sort"))).sort()).toEqual(["config.json", "metrics.jsonl"]);
  expect(charts.map(({ title, series }) => [title, series.map(({ points, dashed = false }) => [points, dashed])])).toEqual([
    [
      "Experts",
      [
        [
          [
            { x: 1, y: 2.5 },
            { x: 2, y: 2 },
          ],
          false,
        ],
        [[{ x: 0, y: 3 }], true],
      ],
    ],
    ["Gates", [[[{ x: 1, y: 1 }], false]]],
  ]);
  await rm(folder, { recursive: true });
});

test("a chart's points lie inside its frame, whatever the values", () => {
  for (const [logarithmic, logarithmicX] of [
    [false, false],
    [true, false],
    [true, true],
  ]) {
    for (const ys of [
      [1e-6, 3, 7],
      [5, 5],
      [0, 1],
      [-2, 4],
    ]) {
      const series = [{ name: "s", points: ys.map((y, i) => ({ x: 10 ** i, y })) }];
      const svg = chartFigure({ title: "t", x: "x", y: "y", logarithmic, logarithmicX, series });
      const points = [...svg.matchAll(/c[xy]="(-?[\d.]+|NaN)"/g)].map(([, value]) => Number(value));
      expect(points.length).toBeGreaterThan(0);
      expect(points.every((value) => value >= 0 && value <= 640)).toBe(true);
      expect(svg).not.toContain("NaN");
    }
  }
  expect(chartFigure({ title: "t", x: "x", y: "y", series: [] })).toBe("");
});

test("on a logarithmic x axis, equal ratios have equal distances", () => {
  const points = [1, 10, 100].map((x) => ({ x, y: x }));
  const svg = chartFigure({ title: "t", x: "x", y: "y", logarithmicX: true, series: [{ name: "s", points }] });
  const [a, b, c] = [...svg.matchAll(/cx="([\d.]+)"/g)].map(([, value]) => Number(value));
  expect(b! - a!).toBeCloseTo(c! - b!, 0); // pixels, printed with one digit
});
