import { expect, test } from "vitest";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { likeKnown, likeReference } from "./examine.ts";
import { computedOn } from "./self-test.ts";

const own = await computedOn(cpu);

test("the CPU gives the known numbers, and learns", () => {
  expect(likeKnown(own)).toMatchObject({ passed: true, problems: [] });
  expect(own.losses.at(-1)).toBeLessThan(own.losses[0]!);
});

test("a device that computes otherwise fails, and every difference is named", () => {
  const routed = own.routed.slice();
  routed[100]! += 0.01;
  const wrong = { ...own, routed, tokens: own.tokens.map((id) => id + 1), losses: own.losses.map(() => Number.NaN) };
  const { passed, problems } = likeReference(wrong, own);
  expect(passed).toBe(false);
  expect(problems).toEqual([
    "The logits of a routed pool are off by 0.010.",
    "The losses of training are off by NaN.",
    "It generates other tokens than the CPU.",
    "Training learns nothing: its losses are NaN, NaN, NaN.",
  ]);
  expect(likeReference(own, own)).toEqual({ passed: true, difference: 0, problems: [] });
});
