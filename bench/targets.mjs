/** @file What the measured variants should reach: ratios of two times, or of two peaks of memory, of one run. */

const ms =
  (name) =>
  ({ variants }) =>
    variants[name]?.medianMs;
const peak =
  (name) =>
  ({ variants }) =>
    variants[name]?.peakMb;
const peer =
  (model, key) =>
  ({ peers }) =>
    peers[model]?.[key]?.ms;

/** A ratio that should be at most `most`. */
const atMost = (most, what, of, over) => ({ what, of, over, most });
/** A rate over another, which should be at least `least`: the ratio of their times, turned around. */
const atLeast = (least, what, fast, slow) => ({ what, of: slow, over: fast, least });

const routed = (most, what, name, experts) => atMost(most, what, ms(`${name}, ${experts} experts`), ms(`${name}, float32`));
const curve = (experts) => ms(`llama decode, batch 1, ${experts} experts`);

export const TARGETS = [
  atLeast(1.9, "Q, decode batch 1: rate of int8 / float32", ms("q decode, batch 1, int8"), ms("q decode, batch 1, float32")),
  atLeast(2.5, "Q, decode batch 1: rate of int4 / float32", ms("q decode, batch 1, int4"), ms("q decode, batch 1, float32")),
  atLeast(1.5, "Q, decode batch 1: rate of int8 / llama.cpp q8_0", ms("q decode, batch 1, int8"), peer("q", "q8_0 decodeMs")),
  atLeast(1.5, "Q, decode batch 1: rate of int4 / llama.cpp q4_0", ms("q decode, batch 1, int4"), peer("q", "q4_0 decodeMs")),
  atMost(0.6, "Q, prompt of 512: int8 / float32", ms("q prompt of 512, int8"), ms("q prompt of 512, float32")),
  atMost(0.5, "Q, prompt of 512: int8 / llama.cpp q8_0", ms("q prompt of 512, int8"), peer("q", "q8_0 prefillMs")),
  atMost(0.4, "Q, peak memory of decoding: int8 / float32", peak("q decode, batch 1, int8"), peak("q decode, batch 1, float32")),
  atMost(0.3, "Q, peak memory of decoding: int4 / float32", peak("q decode, batch 1, int4"), peak("q decode, batch 1, float32")),
  routed(1.2, "Q routed / base, decode batch 1, 8 experts", "q decode, batch 1", 8),
  routed(1.3, "Q routed / base, decode batch 1, 64 experts", "q decode, batch 1", 64),
  routed(1.4, "Q routed / base, decode batch 1, 166 experts", "q decode, batch 1", 166),
  routed(1.5, "Q routed / base, decode batch 8, 64 experts", "q decode, batch 8", 64),
  routed(1.4, "Q routed / base, prompt of 512, 8 experts", "q prompt of 512", 8),
  routed(1.8, "Q routed / base, prompt of 512, 166 experts", "q prompt of 512", 166),
  atMost(1.8, "T5, 512 wide: routed forward / base, 166 experts", ms("t5 routed forward"), ms("t5 forward")),
  atMost(1.8, "Llama, 512 wide: routed forward / base, 166 experts", ms("llama routed forward"), ms("llama forward")),
  atMost(1.25, "Llama, 512 wide, decode batch 1: 166 experts / 8 experts", curve(166), curve(8)),
  atMost(0.6, "LoRA step, Llama: float32 / the best PyTorch", ms("llama LoRA training step"), peer("llama", "loraStepMs")),
  atMost(0.6, "LoRA step, T5: float32 / the best PyTorch", ms("t5 LoRA training step"), peer("t5", "loraStepMs")),
  atMost(0.5, "LoRA step, Llama: int8 / the best PyTorch", ms("llama LoRA training step, int8"), peer("llama", "loraStepMs")),
  atMost(0.7, "LoRA step, Q: int8 / float32", ms("q LoRA training step, int8"), ms("q LoRA training step, float32")),
];

/** The targets as a Markdown table, with the ratios of a report. What was not measured is left out; empty if nothing was. */
export function targetTable(report) {
  const rows = TARGETS.flatMap(({ what, of, over, most, least }) => {
    const ratio = of(report) / over(report);
    if (!Number.isFinite(ratio)) return [];
    const target = least === undefined ? `<= ${most}` : `>= ${least}`;
    const isMet = least === undefined ? ratio <= most : ratio >= least;
    return [`| ${what} | ${target} | ${ratio.toFixed(2)} | ${isMet ? "yes" : "no"} |`];
  });
  if (rows.length === 0) return "";
  return ["| what | target | measured | reached |", "| --- | --- | --- | --- |", ...rows].join("\n");
}
