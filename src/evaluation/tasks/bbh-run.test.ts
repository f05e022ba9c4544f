import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../library/model.ts";
import { loadTokenizer } from "../../text/load-tokenizer.ts";
import { evaluate } from "../comparison/evaluate.ts";
import { readTasks } from "./read-task.ts";

const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const BBH = path("../shared/data/bbh");
const BASE = path("assets/demo-base");

/** Task -> examples in its file, counted in the JSON itself. */
const counted = (names: readonly string[]) =>
  Object.fromEntries(
    names.map((name) => [name, (JSON.parse(readFileSync(`${BBH}/${name}.json`, "utf8")) as { examples: unknown[] }).examples.length]),
  );

// Published data that cannot be shipped. The base knows only a few hundred words, so its answers are wrong; this tests that they are counted.
describe.skipIf(!existsSync(BBH))("BIG-Bench Hard as it is published (skipped where ../shared/data/bbh is absent)", () => {
  test("every task is read whole, and runs through the harness with the demo's base", { timeout: 300_000 }, async () => {
    const tasks = await readTasks(BBH);
    const names = tasks.map(({ name }) => name);
    expect(names).toHaveLength(27);
    expect(Object.fromEntries(tasks.map(({ name, examples }) => [name, examples.length]))).toEqual(counted(names));
    await using model = await loadModel(BASE);
    const few = tasks.map((task) => ({
      ...task,
      examples: task.examples.slice(0, 3),
      ...(task.generation && { generation: { ...task.generation, maxTokens: 4 } }),
    }));
    const { methods } = await evaluate({ model, tokenizer: await loadTokenizer(BASE), tasks: few, methods: [{ kind: "base" }] });
    for (const { name, examples } of few) {
      const { score, outcomes } = methods[0]!.tasks[name]!;
      expect(outcomes, name).toHaveLength(examples.length);
      expect(score.value, name).toBeGreaterThanOrEqual(0);
      expect(score.value, name).toBeLessThanOrEqual(1);
    }
  });
});
