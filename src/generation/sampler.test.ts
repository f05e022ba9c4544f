import { describe, expect, test } from "vitest";
import { CheckpointError, OptionError } from "../base/errors.ts";
import { seededRandom } from "../base/random.ts";
import { type GenerationOptions, generationSettings, unheededDefaults } from "./options.ts";
import { largest, Sampler } from "./sampler.ts";

const bare = { config: {}, directory: "model" };
const sampler = (options: GenerationOptions, seed = 1, context: number[] = []) =>
  new Sampler(generationSettings(options, bare), seededRandom(seed), context);

// Probabilities 0.4, 0.3, 0.15, 0.1, 0.05, scrambled.
const PROBABILITIES = [0.1, 0.4, 0.05, 0.3, 0.15];
const LOGITS = Float32Array.from(PROBABILITIES, (p) => Math.log(p) + 7);
const DRAWS = 20_000;

function counts(options: GenerationOptions, logits = LOGITS): number[] {
  const own = sampler({ temperature: 1, ...options });
  const seen = Array<number>(logits.length).fill(0);
  for (let i = 0; i < DRAWS; i++) seen[own.next(logits).id]!++;
  return seen;
}
/** Pearson's statistic against probabilities; zeros must never be drawn. */
function chiSquare(seen: readonly number[], weights: readonly number[]): number {
  const total = weights.reduce((sum, w) => sum + w, 0);
  return seen.reduce((sum, count, i) => {
    const wanted = (DRAWS * weights[i]!) / total;
    if (wanted === 0) expect(count).toBe(0);
    return wanted === 0 ? sum : sum + (count - wanted) ** 2 / wanted;
  }, 0);
}
const CRITICAL = 18.47; // 0.999 quantile of chi-square with 4 degrees of freedom; the seed is fixed

describe("draws follow the distribution", () => {
  const cases: Record<string, [GenerationOptions, number[]]> = {
    "temperature 1": [{}, PROBABILITIES],
    "temperature 0.5 squares probabilities": [{ temperature: 0.5 }, PROBABILITIES.map((p) => p ** 2)],
    "temperature 2 takes their roots": [{ temperature: 2 }, PROBABILITIES.map(Math.sqrt)],
    "top-k sampling keeps the k likeliest": [{ topK: 3 }, [0, 0.4, 0, 0.3, 0.15]],
    "top-k sampling with more than there are keeps all": [{ topK: 9 }, PROBABILITIES],
    "top-p keeps the smallest set that reaches p": [{ topP: 0.75 }, [0, 0.4, 0, 0.3, 0.15]],
    "top-p keeps one at least": [{ topP: 0.01 }, [0, 1, 0, 0, 0]],
    "top-p counts what top-k left": [{ topK: 3, topP: 0.8 }, [0, 0.4, 0, 0.3, 0]],
    "min-p keeps what is near the best": [{ minP: 0.3 }, [0, 0.4, 0, 0.3, 0.15]],
    "min-p after top-p": [{ minP: 0.5, topP: 0.9 }, [0, 0.4, 0, 0.3, 0]],
    "a bias multiplies a probability": [{ logitBias: { 2: Math.log(4), 1: -100 } }, [0.1, 0, 0.2, 0.3, 0.15]],
  };
  test.each(Object.entries(cases))("%s", (_, [options, weights]) => {
    expect(chiSquare(counts(options), weights)).toBeLessThan(CRITICAL);
  });

  test("in a large vocabulary top-p cuts as a full sort does", () => {
    const random = seededRandom(4);
    const logits = Float32Array.from({ length: 5000 }, () => 2 * random.normal());
    const sorted = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!);
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    for (const topP of [0.2, 0.6, 0.95, 0.9999]) {
      let mass = 0;
      const allowed = new Set<number>();
      for (const id of sorted) {
        if (mass >= topP * total) break;
        allowed.add(id);
        mass += Math.exp(logits[id]!);
      }
      const own = sampler({ temperature: 1, topP });
      for (let i = 0; i < 50; i++) expect(allowed).toContain(own.next(logits).id);
    }
  });
});

test("temperature 0 takes the likeliest, the lower id on a tie", () => {
  expect(sampler({}).next(LOGITS).id).toBe(1);
  expect(sampler({}).next(Float32Array.from([1, 3, 3])).id).toBe(1);
});

test("the same seed draws the same tokens, another seed others", () => {
  const draw = (seed: number) => {
    const own = sampler({ temperature: 1 }, seed);
    return Array.from({ length: 30 }, () => own.next(LOGITS).id).join();
  };
  expect(draw(1)).toBe(draw(1));
  expect(draw(1)).not.toBe(draw(2));
});

describe("penalties", () => {
  test("repetition divides positive and multiplies negative logits of the context, and of what was generated", () => {
    const logits = Float32Array.from([2, 1.9, -1, -1.1]);
    expect(sampler({ repetitionPenalty: 1.2 }, 1, [0]).next(logits).id).toBe(1);
    const own = sampler({ repetitionPenalty: 2 });
    expect([own.next(logits).id, own.next(logits).id, own.next(logits).id]).toEqual([0, 1, 0]);
    expect(sampler({ repetitionPenalty: 1.2 }, 1, [0]).next(Float32Array.from([-1, -1.1])).id).toBe(1);
  });
  test("frequency counts every time, presence once, and neither counts the prompt", () => {
    const logits = Float32Array.from([3, 2, 0.5]);
    const frequency = sampler({ frequencyPenalty: 0.6 }, 1, [0, 0, 0]);
    expect(Array.from({ length: 6 }, () => frequency.next(logits).id)).toEqual([0, 0, 1, 0, 1, 0]);
    const presence = sampler({ presencePenalty: 1.5 });
    expect(Array.from({ length: 4 }, () => presence.next(logits).id)).toEqual([0, 1, 0, 0]);
  });
  test("the model's logits are left as they were", () => {
    const logits = LOGITS.slice();
    sampler({ frequencyPenalty: 2, logitBias: { 1: 5 } }).next(logits);
    expect(logits).toEqual(LOGITS);
  });
});

test("log-probabilities are those of the model, with as many alternatives as asked", () => {
  const choice = sampler({ logprobs: 2, logitBias: { 2: 100 } }).next(LOGITS);
  expect(choice.id).toBe(2);
  expect(choice.logprob).toBeCloseTo(Math.log(0.05), 5);
  expect(choice.topLogprobs!.map(({ id }) => id)).toEqual([1, 3]);
  expect(choice.topLogprobs![1]!.logprob).toBeCloseTo(Math.log(0.3), 5);
  expect(sampler({ logprobs: 0 }).next(LOGITS)).toEqual({ id: 1, logprob: expect.closeTo(Math.log(0.4), 5) });
  expect(sampler({}).next(LOGITS)).toEqual({ id: 1 });
});

test("the largest are found in order, ties by index, however many", () => {
  const random = seededRandom(5);
  const values = Float32Array.from({ length: 3000 }, () => random.integer(500));
  const sorted = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
  for (const k of [0, 1, 7, 1024, 1025, 3000]) expect([...largest(values, k)]).toEqual(sorted.slice(0, k));
});

test("logits that are no numbers are an error that says what to check", () => {
  expect(() => sampler({}).next(new Float32Array(4).fill(Number.NaN))).toThrow(CheckpointError);
});

describe("settings", () => {
  const settings = (options: GenerationOptions, generationConfig: Record<string, unknown>, config = {}) =>
    generationSettings(options, { config, generationConfig, directory: "model" });

  test("come from the caller, else from generation_config.json, else from us", () => {
    const file = { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: null, eos_token_id: [2, 3], max_new_tokens: 40 };
    expect(settings({ topP: 0.5 }, file)).toMatchObject({ temperature: 0.6, topP: 0.5, topK: 0, eosIds: [2, 3], maxNewTokens: 40 });
    expect(settings({ temperature: undefined }, { do_sample: true })).toMatchObject({ temperature: 1, topK: 50, topP: 1 });
    expect(settings({}, { do_sample: false, temperature: 0.6, top_k: 5 })).toMatchObject({ temperature: 0, topK: 0 });
    expect(settings({ temperature: 1 }, { do_sample: false, top_k: 5 })).toMatchObject({ temperature: 1, topK: 0 });
    expect(settings({}, { stop_strings: ["<end>"] }).stop).toEqual(["<end>"]);
    expect(settings({}, {}, { eos_token_id: 7 }).eosIds).toEqual([7]);
    expect(generationSettings({}, bare, { eosId: 4 }).eosIds).toEqual([4]);
    expect(settings({ stop: "end" }, {}).stop).toEqual(["end"]);
  });
  test("that generation passes over are named, those that ask for nothing are not", () => {
    const idle = { num_beams: 1, no_repeat_ngram_size: 0, bad_words_ids: null, suppress_tokens: [], temperature: 0.3, pad_token_id: 0 };
    expect(unheededDefaults({ generationConfig: idle })).toEqual([]);
    expect(unheededDefaults({ generationConfig: { ...idle, num_beams: 4, bad_words_ids: [[3]] } })).toEqual([
      "generation_config.json sets num_beams to 4, which is not supported and is ignored.",
      "generation_config.json sets bad_words_ids to [[3]], which is not supported and is ignored.",
    ]);
  });
  test("that make no sense name the option or the file", () => {
    expect(() => settings({ topP: 2 }, {})).toThrow(OptionError);
    expect(() => settings({ logitBias: { word: 1 } }, {})).toThrow("logitBias");
    expect(() => settings({}, { eos_token_id: "two" })).toThrow("generation_config.json");
  });
});
