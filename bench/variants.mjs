/** @file The measured variants, by name. `base` names the variant to compare with. `peer` names a peer's time for the same model: a number of
 *  the PyTorch scripts, or for q the type of llama.cpp's weights and its number. Times are milliseconds per call, and for decoding
 *  milliseconds per step. `isLong`: left out of a quick run. */

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

/** The full size, routed, and its training. */
const FULL_SIZE_WITH_EXPERTS = [
  ["q decode, batch 8, float32", { model: "q", prepare: decoding({ rows: 8, width: 32, tokens: 16 }) }],
  ...[
    [1, 8],
    [1, 64],
    [1, 166],
    [8, 64],
  ].map(([rows, experts]) => [
    `q decode, batch ${rows}, ${experts} experts`,
    { model: "q", prepare: decoding({ rows, width: 32, tokens: 16, experts }), base: `q decode, batch ${rows}, float32` },
  ]),
  ...[8, 166].map((experts) => [
    `q prompt of 512, ${experts} experts`,
    { model: "q", prepare: prompt({ width: 512, experts }), base: "q prompt of 512, float32" },
  ]),
  ["q LoRA training step, float32", { model: "q", prepare: training({ rows: 1, width: 128 }) }],
  [
    "q LoRA training step, int8",
    { model: "q", prepare: training({ rows: 1, width: 128, precision: "int8" }), base: "q LoRA training step, float32" },
  ],
];

/** How cost grows with the number of experts, the batch, the length of a prompt and the width: Llama-like models of 8 layers, with experts and
 *  without. */
export const CURVES = {
  experts: [1, 8, 32, 166, 1000],
  batch: [1, 8, 32],
  length: [32, 128, 512],
  width: [256, 512, 1024],
};
const modelOfWidth = (width) => (width === 512 ? "llama" : `llama-${width}`);
export const CURVE_NAMES = {
  experts: (count) => `llama decode, batch 1, ${count} experts`,
  batch: (rows) => `llama decode, batch ${rows}`,
  length: (width) => `llama prompt of ${width}`,
  width: (width) => `${modelOfWidth(width)} decode, batch 1`,
};
export const withExperts = (name) => `${name}, ${EXPERTS} experts`;

const pair = (name, model, prepare) => [
  [name, { model, prepare: prepare({}), isLong: true }],
  [withExperts(name), { model, prepare: prepare({ experts: EXPERTS }), base: name, isLong: true }],
];
const GROWTH = [
  ...CURVES.experts.map((experts) => [
    CURVE_NAMES.experts(experts),
    { model: "llama", prepare: decoding({ ...LLAMA_DECODING, experts }), base: "llama decode, batch 1", isLong: true },
  ]),
  ...CURVES.batch.flatMap((rows) => pair(CURVE_NAMES.batch(rows), "llama", (own) => decoding({ ...LLAMA_DECODING, rows, ...own }))),
  ...CURVES.length.flatMap((width) => pair(CURVE_NAMES.length(width), "llama", (own) => prompt({ width, ...own }))),
  ...CURVES.width.flatMap((width) => pair(CURVE_NAMES.width(width), modelOfWidth(width), (own) => decoding({ ...LLAMA_DECODING, ...own }))),
];

/** Eight questions with four choices each. The base reads the prompt again for every choice. */
const multipleChoice = (model) => [
  [`${model} choices, each alone`, { model, prepare: choices({ shared: false }) }],
  [`${model} choices, one prompt`, { model, prepare: choices({ shared: true }), base: `${model} choices, each alone` }],
];

export const VARIANTS = {
  ...Object.fromEntries(GROWTH),
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
  // Three that are points of curves, and belong to a quick run.
  "llama decode, batch 1": { model: "llama", prepare: decoding(LLAMA_DECODING), peer: "decodeMs" },
  "llama decode, batch 8": { model: "llama", prepare: decoding({ ...LLAMA_DECODING, rows: 8 }), peer: "decode8Ms" },
  [withExperts("llama decode, batch 1")]: {
    model: "llama",
    prepare: decoding({ ...LLAMA_DECODING, experts: EXPERTS }),
    base: "llama decode, batch 1",
  },
  ...Object.fromEntries(["t5", "llama"].flatMap(multipleChoice)),
  ...Object.fromEntries(FULL_SIZE),
  ...Object.fromEntries(FULL_SIZE_WITH_EXPERTS),
};
