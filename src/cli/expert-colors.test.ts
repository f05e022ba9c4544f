import { expect, test } from "vitest";
import { float32, int64 } from "../base/tensor.ts";
import { colored, expertOf } from "./expert-colors.ts";

test("the expert with the most weight over all modules is the token's", () => {
  const route = (experts: readonly number[], weights: readonly number[]) => ({
    experts: int64([1, 1, 2], experts),
    weights: float32([1, 1, 2], weights),
  });
  const routes = new Map([
    ["q", route([3, 1], [0.6, 0.4])],
    ["k", route([1, 0], [0.55, 0.45])],
    ["v", route([3, 0], [0.5, 0.5])],
  ]);
  expect(expertOf(routes)).toBe(3); // 1.1 against 0.95 of experts 0 and 1
});

test("a token's color ends with it", () => {
  expect(colored("goose", 0)).toBe("\x1b[38;5;33mgoose\x1b[0m");
});

test("thirty experts look different", () => {
  expect(new Set(Array.from({ length: 30 }, (_, expert) => colored("goose", expert))).size).toBe(30);
  expect(colored("goose", 10)).toBe("\x1b[4;38;5;33mgoose\x1b[0m");
});
