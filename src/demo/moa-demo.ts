/** @file The Mixture-of-LoRAs demo: five domains, all methods of the paper's comparison with the same budget, one table. */

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createMoaPool } from "../inference/moa-pool.ts";
import { loadModel } from "../library/model.ts";
import { domainExamples, MOA_DOMAINS } from "./moa-domains.ts";
import { moaStudy, type Study, type StudyJob, type StudyOptions } from "./moa-study.ts";

/** The base that ships with the package. */
export const MOA_DEMO_BASE = fileURLToPath(new URL("../../assets/demo-moa-base", import.meta.url));

/** Chosen on seeds that no table shows: docs/guide/mixture-of-loras.md. */
export const MOA_RECIPE: Omit<StudyOptions, "seed"> = {
  expertSteps: 50,
  steps: 200,
  rank: 2,
  alpha: 2,
  lr: 5e-3,
  batchSize: 32,
  microBatchSize: 32,
  maxLength: 64,
  maxTokens: 16,
};
const NUM_TRAINING = 1500;

export interface MoaDemoOptions extends Pick<StudyJob, "signal" | "onPart"> {
  /** Folder of the demo's files; a stopped demo continues from it. */
  readonly out: string;
  readonly seed?: number;
  /** Test examples of each domain. */
  readonly numTests?: number;
  readonly ablations?: boolean;
  readonly base?: string;
  /** Steps and sizes other than the demo's own. */
  readonly recipe?: Partial<StudyOptions>;
}

/** Runs the demo; writes the MoA model as a pool to `out`/pool. */
export async function runMoaDemo(options: MoaDemoOptions): Promise<Study> {
  const { out, seed = 1, numTests = 100, ablations = false, base = MOA_DEMO_BASE, signal, onPart } = options;
  await using model = await loadModel(base);
  const domains = MOA_DOMAINS.map((name) => ({
    name,
    training: domainExamples(name, "train", NUM_TRAINING, seed),
    test: domainExamples(name, "test", numTests, seed),
  }));
  await mkdir(out, { recursive: true });
  const study = await moaStudy({
    model,
    tokenizer: await model.tokenizer(),
    title: "Mixture-of-LoRAs on five domains",
    domains,
    options: { ...MOA_RECIPE, ...options.recipe, seed, ablations },
    runs: join(out, "runs"),
    ...(signal && { signal }),
    ...(onPart && { onPart }),
  });
  const pool = join(out, "pool");
  await rm(pool, { recursive: true, force: true });
  await createMoaPool(pool, model, "skein/demo-moa-base", study.moa.moa, study.moa.adapters);
  return study;
}
