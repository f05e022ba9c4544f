import { expect, test } from "vitest";
import { harnessKeys, metricKey, parsedMetricKey } from "./metric-key.ts";

test("a metric's key is read back as it was written", () => {
  const keys = [{ metric: "acc" }, { metric: "exact_match", pipeline: "strict-match" }, { metric: "exact_match", pipeline: "a,b" }];
  for (const key of keys) expect(parsedMetricKey(metricKey(key))).toEqual(key);
});

test("the harness names a pipeline for every metric", () => {
  expect(harnessKeys("acc")).toEqual({ value: "acc,none", error: "acc_stderr,none" });
  expect(harnessKeys("exact_match,strict")).toEqual({ value: "exact_match,strict", error: "exact_match_stderr,strict" });
});
