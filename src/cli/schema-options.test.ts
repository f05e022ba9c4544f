import { Command } from "commander";
import { expect, test } from "vitest";
import * as z from "zod";
import { optionsFrom, withOptions } from "./schema-options.ts";

const kinds = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("constant"),
    warmupRatio: z.number().min(0).max(1).default(0.06).meta({ description: "Share of steps." }),
  }),
  z.strictObject({ kind: z.literal("linear"), warmupRatio: z.number().min(0).max(1).default(0.06) }),
]);
const schema = z.strictObject({
  base: z.string().meta({ description: "The base model.", value: "dir" }),
  steps: z.int().min(0).default(100).meta({ description: "Optimizer steps." }),
  minP: z.number().gt(0).max(1).optional().meta({ description: "A share.", unset: "the model's" }),
  packing: z.boolean().default(false).meta({ description: "Pack rows." }),
  labels: z.boolean().default(true).meta({ description: "Learn from labels.", off: "Learn without labels." }),
  kind: z.enum(["lora", "ia3"]).default("lora").meta({ description: "What is trained." }),
  metrics: z.array(z.string()).optional().meta({ description: "Metrics." }),
  sizes: z.array(z.int().min(1)).optional().meta({ description: "Sizes.", value: "list" }),
  stop: z.array(z.string()).optional().meta({ description: "Texts.", value: "texts", variadic: true }),
  adapter: z.array(z.string()).optional().meta({ description: "Adapters.", value: "dir", repeat: true }),
  schedule: kinds.default({ kind: "constant", warmupRatio: 0.06 }).meta({ description: "How the rate falls." }),
});

function parsed(...argv: string[]) {
  const command = withOptions(new Command().exitOverride().configureOutput({ writeErr: () => undefined }), schema, {
    names: { minP: "smallest" },
  });
  command.parse(["--base", "b", ...argv], { from: "user" });
  return optionsFrom(schema, command.opts(), { names: { minP: "smallest" } });
}

test("flags become the schema's fields, and the schema takes them", () => {
  const all =
    "--steps 5 --smallest 0.5 --packing --no-labels --kind ia3 --metrics a,b --sizes 1,2 --stop x y --adapter p --adapter q --schedule linear --warmup-ratio 0.1";
  const options = parsed(...all.split(" "));
  expect(options).toEqual({
    base: "b",
    steps: 5,
    minP: 0.5,
    packing: true,
    labels: false,
    kind: "ia3",
    metrics: ["a", "b"],
    sizes: [1, 2],
    stop: ["x", "y"],
    adapter: ["p", "q"],
    schedule: { kind: "linear", warmupRatio: 0.1 },
  });
  expect(schema.parse(options)).toEqual(options);
});

test("what is not given is left to the schema; a union's field alone keeps its usual kind", () => {
  expect(schema.parse(parsed())).toMatchObject({ steps: 100, packing: false, labels: true, schedule: { kind: "constant" } });
  expect(parsed("--warmup-ratio", "0.5")).toMatchObject({ schedule: { kind: "constant", warmupRatio: 0.5 } });
  expect(parsed("--schedule", "linear")).toMatchObject({ schedule: { kind: "linear" } });
});

test.each([
  [["--steps", "-1"], "Expected a whole number of at least 0."],
  [["--steps", "1.5"], "Expected a whole number of at least 0."],
  [["--steps", ""], "Expected a whole number of at least 0."],
  [["--smallest", "2"], "Expected a number above 0 and at most 1."],
  [["--kind", "dora"], "Expected one of lora, ia3."],
  [["--sizes", "1,x"], "Expected a whole number of at least 1."],
  [["--schedule", "step"], "Expected one of constant, linear."],
])("%j is refused", (argv, message) => {
  expect(() => parsed(...argv)).toThrow(message);
});

test("help has descriptions, choices and defaults under its heading, and names what is required", () => {
  const command = withOptions(new Command(), schema, { group: "Training:", unset: { steps: "as many as it takes" } });
  const help = command.helpInformation().replace(/\s+/g, " ");
  for (const text of [
    "Training: --base <dir> the base model",
    "--steps <n> optimizer steps (default: as many as it takes)",
    "--min-p <x> a share (default: the model's)",
    "--no-labels learn without labels",
    "--kind <word> what is trained: lora, ia3 (default: lora)",
    "--sizes <list> sizes",
    "--stop <texts...>",
    "--schedule <kind> how the rate falls: constant, linear (default: constant)",
    "--warmup-ratio <x> share of steps (default: 0.06)",
  ])
    expect(help).toContain(text);
  expect(() =>
    command
      .exitOverride()
      .configureOutput({ writeErr: () => undefined })
      .parse([], { from: "user" }),
  ).toThrow(/--base/);
});
