/** @file Mixture-of-LoRAs compared with equal computations: row by row, single domains, forced routers, frozen rows. */

import { describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { gradients } from "../autodiff/gradient.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add } from "../graph/ops/elementwise.ts";
import { MoaWoven } from "../inference/moa-woven.ts";
import { singleAdapter } from "../inference/woven.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { logitsOf } from "../models/logits.ts";
import { type MoaRouters, routerLayers } from "../routing/moa.ts";
import { decided } from "../routing/moa-decision.ts";
import type { Moa } from "../routing/moa-file.ts";
import { Session } from "../runtime/session.ts";
import { freshLora } from "./learner.ts";
import { crossEntropy, labelsOf } from "./loss.ts";
import { freshRouters, type MoaLearning, type MoaParts, moaLearner, trainedParts } from "./moa-learner.ts";
import { targetModules } from "./train.ts";
import { Trainer } from "./trainer.ts";

const DOMAINS = ["finance", "medicine", "code"];
const BASES = ["t5", "llama"] as const;
type Ints = HostTensor<"int64">;
type Batch = Record<string, Ints>;

/** A LoRA with an effect: A and B are random. Ranks differ between domains. */
function randomLora(model: LoadedModel, domain: string, rank: number): LoraAdapter {
  const targets = targetModules(model.base, undefined);
  const fresh = freshLora(model.base.modules, { targets, rank, scaling: 2 / rank, seed: derivedSeed(domain) });
  const modules = [...fresh.modules].map(([module, lora]) => {
    const random = seededRandom(derivedSeed(domain, module, "b"));
    return [module, { ...lora, a: noise(lora.a, 0.1, random), b: noise(lora.b, 0.1, random) }] as const;
  });
  return { ...fresh, modules: new Map(modules) };
}
function noise(like: HostTensor<"float32">, deviation: number, random: { normal(): number }): HostTensor<"float32"> {
  return float32(
    like.shape,
    like.data.map(() => deviation * random.normal()),
  );
}

function parts(model: LoadedModel): MoaParts {
  const adapters = DOMAINS.map((domain, i) => randomLora(model, domain, i + 2));
  return { adapters, routers: freshRouters(routerLayers(model.base.architecture), DOMAINS.length, model.base.architecture.hiddenSize, 3) };
}

/** Four rows of 10 tokens with the same number of targets, of domains 2, 0, 1, 0. */
async function batchFor(model: LoadedModel, base: string): Promise<Batch> {
  const tokens = await goldenTensors(`${base}/golden.safetensors`);
  const cut = (tensor: Ints, start: number, end: number): Ints => {
    const width = tensor.shape[1]!;
    const rows = Array.from({ length: 4 }, (_, row) => [
      ...tensor.data.subarray((row % tensor.shape[0]!) * width + start, (row % tensor.shape[0]!) * width + end),
    ]);
    return int64(
      [4, end - start],
      BigInt64Array.from(rows.flat().map((id, i) => (id + BigInt(i) * 3n) % BigInt(model.base.architecture.vocabularySize))),
    );
  };
  const ids = cut(tokens.int("input_ids"), 0, 10);
  const common = { input_ids: ids, attention_mask: int64([4, 10], Array(40).fill(1)), domains: int64([4], [2, 0, 1, 0]) };
  if (base === "t5") {
    const labels = cut(tokens.int("decoder_input_ids"), 1, 6);
    return { ...common, labels, decoder_input_ids: cut(tokens.int("decoder_input_ids"), 0, 5) };
  }
  // Six tokens of prompt, four learned.
  const labels = int64(
    [4, 10],
    [...ids.data].map((id, i) => (i % 10 < 5 || i % 10 === 9 ? -100 : Number(id))),
  );
  return { ...common, labels };
}

function rowsOf(batch: Batch, rows: readonly number[]): Batch {
  return Object.fromEntries(
    Object.entries(batch).map(([name, { shape, data }]) => {
      const width = shape[1] ?? 1;
      const picked = rows.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]);
      return [name, int64([rows.length, ...shape.slice(1)], BigInt64Array.from(picked))];
    }),
  );
}

const OPTIONS: MoaLearning = { lambda: 0.7, pooling: "mean", states: "base", freezeLoras: false, labels: true, firstRow: 0 };

/** The loss and its gradients at the starting point. */
async function gradientsOf(model: LoadedModel, given: MoaParts, batch: Batch, options: MoaLearning) {
  const learner = moaLearner(model.base, given, options);
  const graph = createGraph("gradients");
  const built = learner.build(graph);
  const { mean } = crossEntropy(logitsOf(graph, model.base.architecture, built), labelsOf(graph, model.base.architecture));
  const loss = built.extraLoss ? add(mean, built.extraLoss()) : mean;
  const names = [...learner.initial.keys()];
  const values = names.map((name) => graph.float(name, ...learner.initial.get(name)!.shape));
  graph.output("loss", loss);
  gradients(loss, values).forEach((gradient, i) => {
    graph.output(`d ${names[i]}`, gradient);
  });
  await using session = await Session.load(graph);
  return await session.run({ ...batch, ...learner.frozen, ...Object.fromEntries(learner.initial) });
}

/** A MoA model made of these parts. */
function moaOf(
  model: LoadedModel,
  { adapters, routers }: MoaParts,
  options: ConstructorParameters<typeof MoaWoven>[3],
  moa: Partial<Moa> = {},
): MoaWoven {
  const experts = adapters.map((adapter, i) => ({ name: DOMAINS[i]!, adapter, warnings: [] }));
  const overlay = new MoaWoven(
    model,
    { domains: DOMAINS, routers, pooling: "mean", states: "base", training: {}, ...moa },
    experts,
    options,
  );
  return overlay;
}

const batchOf = (batch: Batch) => ({
  inputIds: batch.input_ids!,
  ...(batch.decoder_input_ids && { decoderInputIds: batch.decoder_input_ids }),
});

/** Routers that choose domain `choice(layer)` for any input. */
function forced(routers: MoaRouters, choice: (layer: number) => number): MoaRouters {
  return new Map(
    [...routers].map(([layer, { weight, bias }], i) => [
      layer,
      {
        weight: float32(weight.shape),
        bias: float32(
          bias.shape,
          bias.data.map((_, d) => (d === choice(i) ? 1 : 0)),
        ),
      },
    ]),
  );
}

describe.each(BASES)("Mixture-of-LoRAs on %s", (base) => {
  test.each(["base", "adapted"] as const)(
    "a mixed batch has the loss and gradients of its single-domain batches (%s states)",
    async (states) => {
      await using model = await loadModel(golden(`${base}/model`));
      const given = parts(model);
      const options = { ...OPTIONS, states };
      const batch = await batchFor(model, base);
      const mixed = await gradientsOf(model, given, batch, options);
      const groups = [[0], [1, 3], [2]];
      const single = await Promise.all(groups.map((rows) => gradientsOf(model, given, rowsOf(batch, rows), options)));
      for (const [name, tensor] of Object.entries(mixed)) {
        const sum = new Float32Array(tensor.data.length);
        single.forEach((results, g) => {
          results[name]!.data.forEach((value, i) => {
            sum[i]! += (Number(value) * groups[g]!.length) / 4;
          });
        });
        // A few float32 roundings of the largest number.
        expectClose(tensor, float32(tensor.shape, sum), 2e-5 * Math.max(1, ...Array.from(sum, Math.abs)));
      }
      const moved = Object.entries(mixed).filter(([name]) => name.startsWith("d "));
      for (const [name, tensor] of moved) expect(maxDifference(tensor, float32(tensor.shape)), name).toBeGreaterThan(0);
    },
  );

  test("rows that choose differently share a forward pass and equal each LoRA alone", async () => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const batch = await batchFor(model, base);
    const overlay = moaOf(model, given, {});
    overlay.decide = async () => [2, 0, 1, 0].map((domain) => ({ domains: [...given.routers].map(() => domain), votes: [] }));
    const { logits } = await model.withWoven(overlay).forward(batchOf(batch));
    for (const [row, domain] of [2, 0, 1, 0].entries()) {
      const single = model.withWoven(singleAdapter(given.adapters[domain]!, model.base.modules));
      const alone = await single.forward(batchOf(rowsOf(batch, [row])));
      const size = alone.logits.data.length;
      expectClose(float32(alone.logits.shape, logits.data.slice(row * size, (row + 1) * size)), alone.logits, 1e-4);
    }
  });

  test.each(["vote", "last", "per-layer"] as const)("routers forced to one domain give that LoRA's output (%s)", async (rule) => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const batch = batchOf(await batchFor(model, base));
    const expected = await model.withWoven(singleAdapter(given.adapters[1]!, model.base.modules)).forward(batch);
    const moa = moaOf(model, { ...given, routers: forced(given.routers, () => 1) }, { rule });
    const { logits, routes } = await model.withWoven(moa).forward(batch, { routes: true });
    expectClose(logits, expected.logits, 1e-4);
    for (const { experts, weights } of routes!.values()) {
      expect(new Set(experts.data)).toEqual(new Set([1n]));
      expect(new Set(weights.data)).toEqual(new Set([1]));
    }
  });

  test("per layer, each module follows the router before its own layer", async () => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const layers = [...given.routers.keys()];
    moaOf(model, { ...given, routers: forced(given.routers, (layer) => layer % 3) }, { rule: "per-layer" });
    const { routes } = await model.forward(batchOf(await batchFor(model, base)), { routes: true });
    for (const [module, { experts }] of routes!) {
      const own = layers.findIndex((layer) => module.startsWith(`${layer}.`));
      expect(experts.data[0], module).toBe(BigInt((own < 0 ? layers.length - 1 : own) % 3));
    }
  });

  test.each(["base", "adapted"] as const)("what routers learn does not depend on the answer (%s states)", async (states) => {
    await using model = await loadModel(golden(`${base}/model`));
    const batch = await batchFor(model, base);
    const name = base === "t5" ? "decoder_input_ids" : "input_ids";
    const { shape, data } = batch[name]!;
    const other = int64(
      shape,
      data.map((id, i) => (base === "t5" || i % 10 > 5 ? (id + 7n) % 60n : id)),
    );
    for (const pooling of ["mean", "last"] as const) {
      const options = { ...OPTIONS, states, pooling, freezeLoras: true };
      const [one, two] = [
        await gradientsOf(model, parts(model), batch, options),
        await gradientsOf(model, parts(model), { ...batch, [name]: other }, options),
      ];
      expect(one.loss!.data).not.toEqual(two.loss!.data);
      for (const gradient of Object.keys(one)) if (gradient !== "loss") expectClose(one[gradient]!, two[gradient]!, 1e-6);
    }
  });

  test("the scores of a prompt do not depend on padding or on its neighbors", async () => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const { input_ids: ids } = await batchFor(model, base);
    for (const pooling of ["mean", "last"] as const) {
      const overlay = moaOf(model, given, {}, { pooling });
      const read = (inputIds: Ints, mask: readonly number[]) => overlay.scores({ inputIds, attentionMask: int64(inputIds.shape, mask) });
      const alone = await read(int64([1, 6], ids!.data.slice(0, 6)), Array<number>(6).fill(1));
      const beside = await read(
        int64([2, 9], [...Array.from(ids!.data.slice(0, 6), Number), 1, 1, 1, ...Array.from(ids!.data.slice(10, 19), Number)]),
        [1, 1, 1, 1, 1, 1, 0, 0, 0, ...Array<number>(9).fill(1)],
      );
      expectClose(float32(alone.shape, beside.data.slice(0, alone.data.length) as Float32Array), alone, 1e-5);
    }
  });

  test.each(["base", "adapted"] as const)("training lowers the loss, and routers come to tell the domains (%s states)", async (states) => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const batch = await batchFor(model, base);
    const learner = moaLearner(model.base, given, { ...OPTIONS, states });
    await using trainer = await Trainer.create(model.base.architecture, learner, { seed: 1, dropout: 0 });
    const sizes = { batch: 4, sequence: 10, targets: 5 };
    const before = await trainer.score([{ feeds: batch, sizes }]);
    for (let step = 0; step < 60; step++) await trainer.step(step, 0.02, [{ feeds: batch, sizes }]);
    expect(await trainer.score([{ feeds: batch, sizes }])).toBeLessThan(before / 2);
    const trained = trainedParts(given, await trainer.parameters());
    const overlay = moaOf(model, trained, { rule: "last" }, { states });
    const width = base === "t5" ? 10 : 6;
    const prompt = Array.from({ length: 4 }, (_, row) => [...batch.input_ids!.data.subarray(row * 10, row * 10 + width)]).flat();
    const decisions = await overlay.decide({
      inputIds: int64([4, width], BigInt64Array.from(prompt)),
      attentionMask: int64([4, width], Array(4 * width).fill(1)),
    });
    expect(decisions.map(({ domains }) => domains.at(-1))).toEqual([2, 0, 1, 0]);
  });

  test("a new row learns while every other number stays as it was, bit for bit", async () => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const batch = await batchFor(model, base);
    const learner = moaLearner(model.base, given, { ...OPTIONS, freezeLoras: true, firstRow: 2 });
    await using trainer = await Trainer.create(model.base.architecture, learner, { seed: 1, dropout: 0 });
    for (let step = 0; step < 3; step++) await trainer.step(step, 0.01, [{ feeds: batch, sizes: { batch: 4, sequence: 10, targets: 5 } }]);
    const trained = trainedParts(given, await trainer.parameters());
    expect(trained.adapters).toEqual(given.adapters);
    for (const [layer, { weight, bias }] of trained.routers) {
      const old = given.routers.get(layer)!;
      const kept = weight.shape[1]! * 2;
      expect(weight.data.slice(0, kept)).toEqual(old.weight.data.slice(0, kept));
      expect(bias.data.slice(0, 2)).toEqual(old.bias.data.slice(0, 2));
      expect(weight.data.slice(kept)).not.toEqual(old.weight.data.slice(kept));
    }
  });

  test("without labels, routers learn from the text alone", async () => {
    await using model = await loadModel(golden(`${base}/model`));
    const given = parts(model);
    const results = await gradientsOf(model, given, await batchFor(model, base), { ...OPTIONS, labels: false });
    for (const [layer] of given.routers) {
      expect(maxDifference(results[`d ${layer}.router.weight.rows`]!, float32([3, model.base.architecture.hiddenSize]))).toBeGreaterThan(0);
    }
  });
});

describe("decisions", () => {
  // In the first row the layers choose 0, 1, 1. In the second row two layers choose 0 and 1, and the third has equal scores.
  const scores = float32([2, 3, 3], [5, 0, 0, 0, 1, 0, 0, 1, 0, 3, 0, 0, 0, 4, 0, 1, 0, 2]);
  test("vote: the majority, and among equals the largest summed score", () => {
    expect(decided(scores, "vote").map(({ domains }) => domains)).toEqual([
      [1, 1, 1],
      [0, 0, 0],
    ]);
  });
  test("last and per-layer", () => {
    expect(decided(scores, "last").map(({ domains }) => domains[0])).toEqual([1, 2]);
    expect(decided(scores, "per-layer").map(({ domains }) => domains)).toEqual([
      [0, 1, 1],
      [0, 1, 2],
    ]);
  });
});
