import { expect, test } from "vitest";
import { seededRandom } from "../base/random.ts";
import { trainClassifier } from "./domain-classifier.ts";

test("learns to tell three clouds of points apart, and comes out the same for the same seed", () => {
  const random = seededRandom(3);
  const centers = [
    [2, 0],
    [-1, 2],
    [-1, -2],
  ];
  const domains = Array.from({ length: 300 }, (_, i) => i % 3);
  const states = domains.map((domain) => Float32Array.from(centers[domain]!, (c) => c + 0.4 * random.normal()));
  const options = { steps: 200, batchSize: 16, lr: 0.05, seed: 1 };
  const classifier = trainClassifier(states, domains, options);
  const right = states.filter((state, i) => classifier.classify(state) === domains[i]).length;
  expect(right).toBeGreaterThan(295);
  const again = trainClassifier(states, domains, options);
  expect(states.map((state) => again.classify(state))).toEqual(states.map((state) => classifier.classify(state)));
});
