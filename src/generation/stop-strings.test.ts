import { expect, test } from "vitest";
import { stopWatch } from "./stop-strings.ts";

test("a stop text is found in the spelling of special tokens, which never comes out", () => {
  const watch = stopWatch(["<|im_end|>\nuser"]);
  expect(watch.push("ab")).toBe("ab");
  expect(watch.pass("<|other|>")).toBe("");
  expect(watch.push("c")).toBe("c");
  expect(watch.pass("<|im_end|>")).toBe("");
  expect(watch.push("\nus")).toBe("");
  expect(watch.stopped).toBe(false);
  expect(watch.push("er d")).toBe("");
  expect(watch.stopped).toBe(true);
});

test("text that was held back for a stop text comes out when it goes on otherwise, without the special tokens", () => {
  const watch = stopWatch(["<|im_end|>\nuser"]);
  expect(watch.pass("<|im_end|>")).toBe("");
  expect(watch.push("\nuz")).toBe("\nuz");
  expect(watch.pass("<|im_end|>")).toBe("");
  expect(watch.push("\n")).toBe("");
  expect(watch.flush()).toBe("\n");
});
