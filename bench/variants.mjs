/** @file The measured variants, by name. `base` names the variant without experts for comparison, `peer` the number of the
 *  PyTorch script for the same model. Times are milliseconds per call, and for decoding milliseconds per step. */

import { decodingWork, forwardWork, trainingWork } from "./work.mjs";

export const EXPERTS = 166;
const BATCH = { rows: 8, width: 128 };
const T5_DECODING = { ...BATCH, tokens: 31 };
const LLAMA_DECODING = { rows: 1, width: 32, tokens: 64 };

const forward = (options) => (folder, session) => forwardWork(folder, { ...options, ...session });
const training = (options) => (folder, session) => trainingWork(folder, { ...options, ...session });
const decoding = (options) => (folder, session) => decodingWork(folder, { ...options, ...session });

export const VARIANTS = {
  "t5 forward": { model: "t5", prepare: forward(BATCH), peer: "forwardMs" },
  "t5 LoRA training step": { model: "t5", prepare: training(BATCH), base: "t5 forward", peer: "loraStepMs" },
  "t5 routed forward": { model: "t5", prepare: forward({ ...BATCH, experts: EXPERTS }), base: "t5 forward", peer: "routedForwardMs" },
  "t5 decode, batch 8": { model: "t5", prepare: decoding(T5_DECODING) },
  "t5 routed decode, batch 8": { model: "t5", prepare: decoding({ ...T5_DECODING, experts: EXPERTS }), base: "t5 decode, batch 8" },
  "llama forward": { model: "llama", prepare: forward(BATCH), peer: "forwardMs" },
  "llama LoRA training step": { model: "llama", prepare: training(BATCH), base: "llama forward", peer: "loraStepMs" },
  "llama routed forward": { model: "llama", prepare: forward({ ...BATCH, experts: EXPERTS }), base: "llama forward" },
  "llama decode, batch 1": { model: "llama", prepare: decoding(LLAMA_DECODING), peer: "decodeMs" },
  "llama decode, batch 8": { model: "llama", prepare: decoding({ ...LLAMA_DECODING, rows: 8 }), peer: "decode8Ms" },
  "llama routed decode, batch 1": {
    model: "llama",
    prepare: decoding({ ...LLAMA_DECODING, experts: EXPERTS }),
    base: "llama decode, batch 1",
  },
};
