/** @file The measured variants, by name. `base` names the variant to compare with. `peer` names a peer's time for the same model: a number of
 *  the PyTorch scripts, or for q the type of llama.cpp's weights and its number. Times are milliseconds per call, and for decoding
 *  milliseconds per step. */

import { choiceWork, decodingWork, forwardWork, promptWork, trainingWork } from "./work.mjs";

export const EXPERTS = 166;
const BATCH = { rows: 8, width: 128 };
const T5_DECODING = { ...BATCH, tokens: 31 };
const LLAMA_DECODING = { rows: 1, width: 32, tokens: 64 };

const forward = (options) => (folder, session) => forwardWork(folder, { ...options, ...session });
const training = (options) => (folder, session) => trainingWork(folder, { ...options, ...session });
const decoding = (options) => (folder, session) => decodingWork(folder, { ...options, ...session });

const choices = (options) => (folder, session) => choiceWork(folder, { questions: 8, width: 128, ...options, ...session });
const prompt = (options) => (folder, session) => promptWork(folder, { ...options, ...session });

/** llama.cpp's weights beside each precision of ours. */
export const GGUF_OF = { float32: "f32", int8: "q8_0", int4: "q4_0" };

/** The full size, in each precision. */
const FULL_SIZE = Object.entries(GGUF_OF).flatMap(([precision, type]) => [
  [
    `q decode, batch 1, ${precision}`,
    {
      model: "q",
      prepare: decoding({ ...LLAMA_DECODING, tokens: 32, precision }),
      base: "q decode, batch 1, float32",
      peer: `${type} decodeMs`,
    },
  ],
  [
    `q prompt of 512, ${precision}`,
    { model: "q", prepare: prompt({ width: 512, precision }), base: "q prompt of 512, float32", peer: `${type} prefillMs` },
  ],
]);

/** Eight questions with four choices each. The base reads the prompt again for every choice. */
const multipleChoice = (model) => [
  [`${model} choices, each alone`, { model, prepare: choices({ shared: false }) }],
  [`${model} choices, one prompt`, { model, prepare: choices({ shared: true }), base: `${model} choices, each alone` }],
];

export const VARIANTS = {
  "t5 forward": { model: "t5", prepare: forward(BATCH), peer: "forwardMs" },
  "t5 LoRA training step": { model: "t5", prepare: training(BATCH), base: "t5 forward", peer: "loraStepMs" },
  "t5 routed forward": { model: "t5", prepare: forward({ ...BATCH, experts: EXPERTS }), base: "t5 forward", peer: "routedForwardMs" },
  "t5 decode, batch 8": { model: "t5", prepare: decoding(T5_DECODING) },
  "t5 routed decode, batch 8": { model: "t5", prepare: decoding({ ...T5_DECODING, experts: EXPERTS }), base: "t5 decode, batch 8" },
  "llama forward": { model: "llama", prepare: forward(BATCH), peer: "forwardMs" },
  "llama LoRA training step": { model: "llama", prepare: training(BATCH), base: "llama forward", peer: "loraStepMs" },
  "llama LoRA training step, int8": {
    model: "llama",
    prepare: training({ ...BATCH, precision: "int8" }),
    base: "llama LoRA training step",
    peer: "loraStepMs",
  },
  "llama routed forward": { model: "llama", prepare: forward({ ...BATCH, experts: EXPERTS }), base: "llama forward" },
  "llama decode, batch 1": { model: "llama", prepare: decoding(LLAMA_DECODING), peer: "decodeMs" },
  "llama decode, batch 8": { model: "llama", prepare: decoding({ ...LLAMA_DECODING, rows: 8 }), peer: "decode8Ms" },
  "llama routed decode, batch 1": {
    model: "llama",
    prepare: decoding({ ...LLAMA_DECODING, experts: EXPERTS }),
    base: "llama decode, batch 1",
  },
  ...Object.fromEntries(["t5", "llama"].flatMap(multipleChoice)),
  ...Object.fromEntries(FULL_SIZE),
};
