/** @file A small computation of every kind, for a comparison of devices: a routed forward, greedy generation, and three training steps, over the
 *  demo's base with random experts. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, int64 } from "../base/tensor.ts";
import { DEMO_BASE } from "../demo/evaluation-task.ts";
import { generateBatch } from "../generation/generate.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import type { Engine } from "../runtime/engine.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { adapterLearner, freshLora } from "../training/learner.ts";
import { targetModules } from "../training/train.ts";
import { Trainer } from "../training/trainer.ts";

/** What a device computed. */
export interface Results {
  /** Logits of the base alone at the last position, its first eight. */
  readonly logits: readonly number[];
  /** Every logit of the routed forward. */
  readonly routed: Float32Array;
  /** Greedy tokens of the routed model. */
  readonly tokens: readonly number[];
  /** Losses of a LoRA's training steps. */
  readonly losses: readonly number[];
}

const [EXPERTS, RANK, STEPS, NEW_TOKENS] = [3, 4, 3, 6];
const IDS = [17, 42, 5, 203, 88, 9, 311, 1];
const LABELS = [23, 9, 140, 1];

/** The same computation on a device. */
export async function computedOn(engine: Engine, options: SessionOptions = {}): Promise<Results> {
  const session = { engine, ...options };
  await using model = await loadModel(DEMO_BASE, session);
  const { logits } = await model.forward(batch());
  return {
    logits: [...logits.data.slice(-model.base.architecture.vocabularySize).slice(0, 8)],
    ...(await routedResults(model)),
    losses: await trainingLosses(model, session),
  };
}

/** The logits and the tokens of a random pool. */
async function routedResults(model: LoadedModel): Promise<Pick<Results, "routed" | "tokens">> {
  const pool = new RoutedPool(randomExperts(model), model.base.modules, { router: phatgoose({ topK: 2 }) });
  const routed = model.withWoven(pool);
  const { logits } = await routed.forward(batch());
  const [completion] = await generateBatch(routed, [IDS], { temperature: 0, ignoreEos: true, maxNewTokens: NEW_TOKENS });
  return { routed: logits.data, tokens: completion!.ids };
}

async function trainingLosses({ base }: LoadedModel, session: SessionOptions): Promise<readonly number[]> {
  const adapter = freshLora(base.modules, { targets: targetModules(base, undefined), rank: RANK, scaling: 1 / RANK, seed: 1 });
  const trainer = await Trainer.create(base.architecture, adapterLearner(base, adapter), { dropout: 0, seed: 1, session });
  const { inputIds, decoderInputIds } = batch();
  const feeds = {
    input_ids: inputIds,
    attention_mask: int64(inputIds.shape, new BigInt64Array(IDS.length).fill(1n)),
    decoder_input_ids: decoderInputIds,
    labels: int64([1, LABELS.length], LABELS),
  };
  const sizes = { batch: 1, sequence: IDS.length, targets: LABELS.length };
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) losses.push((await trainer.step(step, 1e-2, [{ feeds, sizes }])).loss);
  await trainer.dispose();
  return losses;
}

/** One text and the start of its answer: int64 [1, tokens]. */
function batch() {
  const decoderIds = [0, ...LABELS.slice(0, -1)];
  return { inputIds: int64([1, IDS.length], IDS), decoderInputIds: int64([1, decoderIds.length], decoderIds) };
}

/** Experts with random numbers on every projection. */
function randomExperts({ base }: LoadedModel): Expert[] {
  return Array.from({ length: EXPERTS }, (_, index) => {
    const fresh = freshLora(base.modules, { targets: targetModules(base, undefined), rank: RANK, scaling: 1, seed: index });
    const modules: LoraAdapter["modules"] = new Map(
      [...fresh.modules].map(([module, weights]) => [module, { ...weights, b: normal(`b ${index} ${module}`, 0.3, weights.b.shape) }]),
    );
    const gates = new Map(
      [...modules.keys()].map((module) => [module, normal(`gate ${index} ${module}`, 1, [base.modules.get(module)!.in])]),
    );
    return { name: `random-${index}`, adapter: { ...fresh, modules }, gates, warnings: [] };
  });
}

function normal<S extends readonly number[]>(key: string, factor: number, shape: S) {
  const random = seededRandom(derivedSeed(key));
  return float32(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => factor * random.normal()),
  );
}
