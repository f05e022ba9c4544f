/** @file What a recipe's jobs need: tokens, time and memory, before anything is trained.
 *
 *    tokens   steps x batch x tokens of an example: measured on the first examples where the data are here, else the longest allowed
 *    time     tokens / (tokens per second of a measured step); without one, 4 x weights operations a token (forward, and gradients of
 *             what lies before the adapters) at ASSUMED_RATE a core
 *    memory   float32 weights + values that a micro-batch keeps for its gradients + six copies of what is learned */

import { freemem } from "node:os";
import { elements } from "../base/tensor.ts";
import type { Base } from "../inference/base.ts";
import { targetModules } from "../training/train.ts";
import type { ExpertPlan } from "./recipe-file.ts";

/** Operations per second and core where no step was measured: a guess, good to a factor of three. */
export const ASSUMED_RATE = 20e9;
const PER_TOKEN = 4; // operations per weight: twice forward, twice backward
const PROCESS_BYTES = 150e6; // Node and the engine
const LEARNED_COPIES = 6; // value, two moments, gradient, sum, best
const WEIGHT_COPIES = 1.1;
const SPARE = 0.85; // share of the free memory that jobs may take

/** Weights of a base on disk. */
export function parametersOf({ checkpoint }: Base): number {
  return [...checkpoint.tensors.values()].reduce((sum, { shape }) => sum + elements(shape), 0);
}

/** Tokens that all steps of an expert and its gates see, at `perExample` tokens. */
export function tokensOf({ training, gates }: ExpertPlan, perExample: number): number {
  const own = training.steps * training.batchSize;
  const ofGates = gates ? gates.steps * gates.batchSize : 0;
  return (own + ofGates) * perExample;
}

/** Bytes of a job that trains this expert. */
export function memoryOf(base: Base, { training }: ExpertPlan): number {
  const { microBatchSize, maxLength, rank, targets } = training;
  const rows = microBatchSize * maxLength;
  const kept = [...base.modules.values()].reduce((sum, size) => sum + (size.embedding ? 0 : size.in + size.out), 0) * rows * 4;
  const learned = targetModules(base, targets, { embeddings: true }).reduce((sum, module) => {
    const size = base.modules.get(module)!;
    return sum + rank * (size.in + size.out) * 4;
  }, 0);
  return PROCESS_BYTES + WEIGHT_COPIES * 4 * parametersOf(base) + kept + LEARNED_COPIES * learned;
}

/** The same where only the number of weights is known: no less than the weights themselves. */
export function memoryOfWeights(parameters: number): number {
  return PROCESS_BYTES + WEIGHT_COPIES * 4 * parameters;
}

/** Tokens per second on one core, without a measured step. */
export function assumedTokensPerSecond(parameters: number): number {
  return ASSUMED_RATE / (PER_TOKEN * parameters);
}

/** How many jobs of `bytes` each run side by side: as many as cores and memory allow, and one at least. */
export function fittingWorkers(cores: number, bytes: number, jobs: number): number {
  return Math.max(1, Math.min(cores, jobs, Math.floor((SPARE * freemem()) / bytes)));
}
