/** @file Every router on a decoder-only base, by command lines alone, against a float64 Llama that routes as the papers' equations
 *  read (tests/reference/llama.ts): logits of every slot, experts and weights of every module. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import {
  dot,
  type LlamaConfig,
  llamaLogits,
  type Project,
  plus,
  type Rows,
  rowsOf,
  times,
  type Vector,
} from "../../tests/reference/llama.ts";
import {
  best,
  type Experts,
  iterated,
  type Known,
  layerNorm,
  lengthOf,
  mixing,
  purified,
  routes,
  scoring,
  smearing,
  unit,
  type Weigh,
} from "../../tests/reference/routing.ts";
import type { LoraWeights } from "../adapters/adapter.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { openBase } from "../inference/base.ts";
import { loadModel } from "../library/model.ts";
import { saveGates } from "../storage/expert.ts";
import { loadAdapter } from "../storage/peft.ts";
import { saveAdapter } from "../storage/peft-save.ts";
import { saveActivations } from "../storage/side-files.ts";
import { averageActivations } from "../training/activations.ts";
import { skein } from "./captured-io.test-helper.ts";

const BASE = golden("llama/model");
const [N, RANK, SLOTS] = [7, 4, 10];
const ROWS = [10, 7].map((real, row) => ({
  ids: Array.from({ length: SLOTS }, (_, i) => (i < real ? 3 + ((i * 37 + row * 11) % 150) : 0)),
  mask: Array.from({ length: SLOTS }, (_, i) => Number(i < real)),
}));

let folder: string;
let tensors: ReadonlyMap<string, HostTensor>;
let config: LlamaConfig;
let experts: Experts;
let starts: ReadonlyMap<number, Vector>;
const at = (name: string) => join(folder, name);

function numbers(random: Random, scale: number, ...shape: number[]): HostTensor<"float32"> {
  const count = shape.reduce((product, n) => product * n, 1);
  return float32(
    shape,
    Float32Array.from({ length: count }, () => scale * random.normal()),
  );
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-llama-pool-"));
  tensors = await readSafetensors(join(BASE, "model.safetensors"));
  config = (await openCheckpoint(BASE)).config as unknown as LlamaConfig;
  const expected = await goldenTensors("peft_arrow/peft_arrow.safetensors");
  starts = new Map([64, 96].map((width) => [width, [...expected.float(`init.${width}`).data]]));
  const { modules } = await openBase(BASE);
  const made: Map<string, Known>[] = [];
  for (let z = 0; z < N; z++) {
    const random = seededRandom(50 + z);
    const [lora, gates, means, known] = [new Map<string, LoraWeights>(), new Map(), new Map(), new Map<string, Known>()];
    for (const [module, size] of modules) {
      if (module === "lm_head" || size.embedding) continue;
      const [a, b] = [numbers(random, 0.3, RANK, size.in), numbers(random, 0.3, size.out, RANK)];
      const [gate, mean] = [numbers(random, 0.1, size.in), numbers(random, 1, size.in)];
      lora.set(module, { rank: RANK, scaling: 1 / RANK, a, b });
      gates.set(module, gate);
      means.set(module, mean);
      known.set(module, { a: rowsOf(a), b: rowsOf(b), scaling: 1 / RANK, gate: [...gate.data], mean: [...mean.data] });
    }
    made.push(known);
    await saveAdapter(at(`e${z}`), { kind: "lora", modules: lora, warnings: [] });
    await saveGates(at(`e${z}`), gates);
    await saveActivations(at(`e${z}`), means);
  }
  experts = made;
  const names = Array.from({ length: N }, (_, z) => `e${z}`);
  expect(await skein("pool", "create", at("pool"), "--base", BASE, ...names.map(at))).toMatchObject({ code: 0 });
  // Statistics ride beside a pool's copies.
  for (const [z, name] of names.entries()) {
    await saveActivations(
      at(`pool/experts/${name}`),
      new Map([...made[z]!].map(([module, { mean }]) => [module, float32([mean.length], mean)])),
    );
  }
  await writeSafetensors(at("in.safetensors"), {
    input_ids: int64(
      [2, SLOTS],
      ROWS.flatMap(({ ids }) => ids),
    ),
    attention_mask: int64(
      [2, SLOTS],
      ROWS.flatMap(({ mask }) => mask),
    ),
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const memory = new Map<string, Vector>();
function remembered(key: string, compute: () => Vector): Vector {
  const value = memory.get(key) ?? compute();
  memory.set(key, value);
  return value;
}

const exact = (expert: Known, key: string) => remembered(`exact ${key}`, () => iterated(expert, expert.a[0]!, 1500));
const peft = (expert: Known, key: string) => remembered(`peft ${key}`, () => iterated(expert, starts.get(expert.a[0]!.length)!, 15));
const arrowBy = (k: number, temperature: number, root: boolean) => () => {
  const score = scoring(experts, (u, e, key) => Math.abs(dot(u, exact(e, key))) / temperature / (root ? Math.sqrt(u.length) : 1));
  return mixing(experts, (u, module) => best(score(u, module), k));
};
const peftBy =
  (k: number, temperature: number, pool: () => Experts, tag = "") =>
  () => {
    const members = pool();
    const score = scoring(members, (u, e, key) => Math.abs(dot(u, peft(e, `${tag}${key}`))) / temperature);
    return mixing(members, (u, module) => best(score(u, module), k));
  };
const comparedBy =
  (vector: (expert: Known) => Vector, norm: (v: Vector) => Vector, k = 2) =>
  () => {
    const divisor = (u: Vector) => (norm === layerNorm ? Math.sqrt(u.length) : 1);
    const score = scoring(experts, (u, e) => dot(norm(vector(e)), norm(u)) / divisor(u));
    return mixing(experts, (u, module) => best(score(u, module), k));
  };

const CASES: readonly (readonly [router: string, project: () => Project])[] = [
  ["phatgoose", comparedBy(({ gate }) => gate, layerNorm)],
  ["phatgoose:topK=3", comparedBy(({ gate }) => gate, layerNorm, 3)],
  ["average-activation", comparedBy(({ mean }) => mean, layerNorm)],
  ["average-activation:normalize=unit,scaleBySqrt=false", comparedBy(({ mean }) => mean, unit)],
  ["arrow", arrowBy(2, 10, true)],
  ["arrow:scaleBySqrt=false", arrowBy(2, 10, false)],
  ["arrow:topK=3", arrowBy(3, 10, true)],
  ["arrow:temperature=1", arrowBy(2, 1, true)],
  ["arrow:temperature=1,scaleBySqrt=false", arrowBy(2, 1, false)],
  ["arrow-peft:topK=1", peftBy(1, 1, () => experts)],
  ["arrow-peft:topK=2", peftBy(2, 1, () => experts)],
  ["arrow-peft:topK=3,temperature=0.5", peftBy(3, 0.5, () => experts)],
  ["arrow-peft:topK=2,general=e5+e6", peftBy(2, 1, () => purified(experts), "purified ")],
  [
    "spectr",
    () => {
      const score = scoring(experts, (u, { a, b, scaling }) => scaling * lengthOf(times(b, times(a, u))));
      return mixing(experts, (u, module) => best(score(u, module), 2));
    },
  ],
  ["uniform", () => mixing(experts, () => experts.map(() => 1 / N))],
  ["merged", () => mixing(experts, () => experts.map(() => 1 / N))],
  ["single:expert=e3", () => mixing(experts, () => experts.map((_, z) => Number(z === 3)))],
  ["smear", () => smearing(experts)],
];

/** What `skein forward` writes for the batch. */
async function forward(...options: string[]): Promise<Map<string, HostTensor>> {
  const files = ["--inputs", at("in.safetensors"), "--out", at("out.safetensors")];
  const { code, err } = await skein("forward", "--base", BASE, ...options, ...files);
  expect({ code, err: err.replaceAll(/.*records no base_fingerprint.*\n/g, "") }).toEqual({ code: 0, err: "" });
  return readSafetensors(at("out.safetensors"));
}

function expectLogits(actual: ReadonlyMap<string, HostTensor>, project: Project): void {
  routes.clear();
  const wanted = ROWS.map((row) => llamaLogits(tensors, config, row, project));
  expectClose(actual.get("logits")!, float32([2, SLOTS, 160], wanted.flat(2)), 1e-4);
}

test.each(CASES)("%s on a Llama equals a float64 Llama that routes so", async (router, project) => {
  const actual = await forward("--pool", at("pool"), "--router", router, "--routes");
  expectLogits(actual, project());
  if (router === "merged" || router === "smear") return;
  expect(routes.size).toBe(14);
  for (const [module, wanted] of routes) {
    const [chosen, weights] = [actual.get(`routes.${module}.experts`)!, actual.get(`routes.${module}.weights`)!];
    const k = weights.shape[2]!;
    wanted.forEach((row, token) => {
      const own = row.map(() => 0);
      for (let j = 0; j < k; j++) own[Number(chosen.data[token * k + j])]! += Number(weights.data[token * k + j]);
      row.forEach((weight, z) => {
        expect(own[z], `${module} ${token}`).toBeCloseTo(weight, 4);
      });
    });
  }
});

/** (IA)3 on the modules of PEFT's defaults for a Llama, and its factors. */
const IA3 = [0, 1].flatMap((layer) => [
  { module: `model.layers.${layer}.self_attn.k_proj`, width: 32, feedforward: false },
  { module: `model.layers.${layer}.self_attn.v_proj`, width: 32, feedforward: false },
  { module: `model.layers.${layer}.mlp.down_proj`, width: 96, feedforward: true },
]);

test("(IA)3 experts on a Llama: alone as PEFT has them, and routed as factors around 1", async () => {
  const { modules } = await openBase(BASE);
  const scales = [0, 1, 2].map((z) => {
    const random = seededRandom(90 + z);
    return new Map(IA3.map(({ module, width }) => [module, numbers(random, 0.25, width).data.map((value) => 1 + value)] as const));
  });
  for (const [z, own] of scales.entries()) {
    const weights = IA3.map(
      ({ module, width, feedforward }) => [module, { scale: float32([width], own.get(module)!), feedforward }] as const,
    );
    await saveAdapter(at(`ia3-${z}`), { kind: "ia3", modules: new Map(weights), warnings: [] });
    const gates = IA3.map(({ module }) => [module, float32([modules.get(module)!.in], [...experts[z]!.get(module)!.gate])] as const);
    await saveGates(at(`ia3-${z}`), new Map(gates));
  }
  const scaling =
    (weigh: Weigh): Project =>
    (x, module, base) => {
      const place = IA3.find((known) => known.module === module);
      if (!place) return base(x);
      const factors = x.map((u) => {
        const weights = weigh(u, module);
        const change = (i: number) => scales.reduce((sum, own, z) => sum + weights[z]! * (own.get(module)![i]! - 1), 0);
        return Array.from({ length: place.width }, (_, i) => 1 + change(i));
      });
      const times = (rows: Rows) => rows.map((row, t) => row.map((value, i) => value * factors[t]![i]!));
      return place.feedforward ? base(times(x)) : times(base(x));
    };
  expectLogits(
    await forward("--adapter", at("ia3-1")),
    scaling(() => [0, 1, 0]),
  );
  expect(await skein("pool", "create", at("ia3"), "--base", BASE, ...[0, 1, 2].map((z) => at(`ia3-${z}`)))).toMatchObject({ code: 0 });
  const score = scoring(experts.slice(0, 3), (u, { gate }) => dot(layerNorm(gate), layerNorm(u)) / Math.sqrt(u.length));
  const weigh: Weigh = (u, module) => best(score(u, module), 2);
  expectLogits(await forward("--pool", at("ia3")), scaling(weigh));
});

test("a batch brings what its rows may use", async () => {
  const inputs = await readSafetensors(at("in.safetensors"));
  const bias = float32([2, N], Array<number>(2 * N).fill(0));
  for (let z = 0; z < N; z++) if (z !== 4) bias.data[N + z] = Number.NEGATIVE_INFINITY;
  await writeSafetensors(at("biased.safetensors"), { ...Object.fromEntries(inputs), routing_bias: bias });
  const files = ["--inputs", at("biased.safetensors"), "--out", at("out.safetensors"), "--routes"];
  expect(await skein("forward", "--base", BASE, "--pool", at("pool"), ...files)).toMatchObject({ code: 0 });
  const chosen = (await readSafetensors(at("out.safetensors"))).get("routes.model.layers.1.mlp.up_proj.experts")!;
  const first = rowsOf({ ...chosen, shape: [2 * SLOTS, 2] }).map(([best]) => best);
  expect(first.slice(SLOTS)).toEqual(Array(SLOTS).fill(4));
  expect(new Set(first.slice(0, SLOTS)).size).toBeGreaterThan(2);
  const refused = await skein("forward", "--base", BASE, ...files);
  expect(refused.err).toContain("Rows can choose experts of a pool alone");
  const merged = await skein("forward", "--base", BASE, "--pool", at("pool"), "--router", "merged", ...files);
  expect(merged.err).toContain("no row can choose among them");
});

test.each(["all", "last"] as const)("mean activations of %s positions on a Llama, the expert at work", async (positions) => {
  await using model = await loadModel(BASE);
  const examples = [
    [5, 9, 33, 12],
    [71, 8],
    [40, 41, 42, 43, 44],
  ].map((inputs) => ({ inputs, labels: inputs }));
  const means = await averageActivations(model, await loadAdapter(at("e2"), model.base.modules), examples, { positions, batchSize: 2 });
  const sums = new Map<string, Vector>();
  const alone = mixing(experts.slice(2, 3), () => [1]);
  const project: Project = (x, module, base) => {
    const mean =
      positions === "last"
        ? x.at(-1)!
        : x.reduce(
            (sum, row) => plus(sum, row, 1 / x.length),
            x[0]!.map(() => 0),
          );
    if (module !== "lm_head") sums.set(module, plus(mean, sums.get(module) ?? mean.map(() => 0)));
    return module === "lm_head" ? base(x) : alone(x, module, base);
  };
  for (const { inputs } of examples) llamaLogits(tensors, config, { ids: inputs, mask: inputs.map(() => 1) }, project);
  expect(means.size).toBe(14);
  for (const [module, mean] of means)
    expectClose(
      mean,
      float32(
        mean.shape,
        sums.get(module)!.map((value) => value / 3),
      ),
      2e-5,
    );
});

test("the float64 Llama is transformers' own", async () => {
  const expected = await goldenTensors("llama/golden.safetensors");
  const [ids, mask, logits] = [expected.int("input_ids"), expected.int("attention_mask"), expected.float("logits")];
  for (const row of [0, 1]) {
    const cut = ({ data }: HostTensor<"int64">) => [...data.subarray(row * 24, row * 24 + 24)].map(Number);
    const found = llamaLogits(tensors, config, { ids: cut(ids), mask: cut(mask) });
    expectClose(float32([24, 160], found.flat()), float32([24, 160], logits.data.slice(row * 24 * 160, (row + 1) * 24 * 160)), 2e-5);
  }
});
