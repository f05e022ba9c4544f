/** @file `skein statistics` and `skein lorahub`: what routers without gates learn from examples. */

import { type Command, Option } from "commander";
import { subcommand, wholeNumber } from "../command.ts";
import { type CommonFlags, type Io, show } from "../io.ts";

interface StatisticsFlags extends CommonFlags {
  readonly base: string;
  readonly data: string;
  readonly positions: "all" | "last" | "generated";
  readonly embedder?: string;
  readonly maxLength?: number;
}

export function addStatistics(program: Command, io: Io): void {
  subcommand(program, "statistics <expert>", {
    summary: "Gather what the routers average-activation and retrieval need of an expert, and write it beside the adapter.",
    example: "skein statistics experts/nouns --base models/t5 --data nouns.jsonl",
  })
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .requiredOption("--data <file>", "the expert's examples, of which the first 1000 are used")
    .addOption(
      new Option("--positions <which>", "tokens of a decoder that count: all targets, the last, or the last of the expert's own answer")
        .choices(["all", "last", "generated"])
        .default("all"),
    )
    .option("--embedder <dir>", "a BERT-like encoder for retrieval (default: the base model's own mean-pooled states)")
    .option("--max-length <n>", "longest input and target in tokens (default: 512)", wholeNumber(2))
    .action(async (expert: string, { base, data, positions, embedder, maxLength, ...flags }: StatisticsFlags) => {
      const { loadModel } = await import("../../library/model.ts");
      const { readTrainingExamples } = await import("../../data/training-data.ts");
      const { gatherStatistics } = await import("../../training/statistics.ts");
      await using model = await loadModel(base);
      const tokenizer = await model.base.tokenizer();
      const examples = await readTrainingExamples(data);
      const found = await gatherStatistics({ model, tokenizer, expert, examples, positions, embedder, maxLength });
      const text = `Wrote the mean activations of ${found.modules} modules and ${found.examples} embeddings by ${found.embedder} to ${expert}.`;
      show(io, flags, { expert, ...found }, text);
    });
}

interface LorahubFlags extends CommonFlags {
  readonly base: string;
  readonly pool: string;
  readonly data: string;
  readonly out: string;
  readonly evaluations?: number;
  readonly seed?: number;
  readonly maxLength?: number;
}

export function addLorahub(program: Command, io: Io): void {
  subcommand(program, "lorahub", {
    summary: "Combine a pool's experts for a new task from a few examples, without gradients.",
    example: "skein lorahub --base models/t5 --pool my-pool --data five-examples.jsonl --out combined",
  })
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .requiredOption("--pool <dir>", "the pool whose experts are combined")
    .requiredOption("--data <file>", "a few examples of the new task")
    .requiredOption("--out <dir>", "folder of the combined adapter")
    .option("--evaluations <n>", "weights tried (default: 40)", wholeNumber(1))
    .option("--seed <n>", "decides which weights are tried (default: 42)", wholeNumber(0))
    .option("--max-length <n>", "longest input and target in tokens (default: 512)", wholeNumber(2))
    .action(async ({ base, pool, data, out, evaluations, seed, maxLength = 512, ...flags }: LorahubFlags) => {
      const { loadModel } = await import("../../library/model.ts");
      const { openExperts } = await import("../../inference/open.ts");
      const { readTrainingExamples } = await import("../../data/training-data.ts");
      const { encodeExamples } = await import("../../training/examples.ts");
      const { lorahub } = await import("../../training/lorahub.ts");
      const { saveAdapter } = await import("../../storage/peft-save.ts");
      const { checkFolder } = await import("../../checkpoint/atomic.ts");
      await checkFolder(out);
      await using model = await loadModel(base);
      const experts = await openExperts(model, pool);
      const tokenizer = await model.base.tokenizer();
      const limits = { maxInput: maxLength, maxTarget: maxLength };
      const { examples } = encodeExamples(await readTrainingExamples(data), tokenizer, model.base.architecture, limits);
      const options = { ...(evaluations !== undefined && { evaluations }), ...(seed !== undefined && { seed }) };
      const { adapter, weights, objective } = await lorahub(model, experts, examples, options);
      await saveAdapter(out, adapter, { baseName: base });
      const named = Object.fromEntries(experts.map(({ name }, z) => [name, weights[z]!]));
      const lines = Object.entries(named).map(([name, weight]) => `  ${name}  ${weight.toFixed(3)}`);
      show(io, flags, { out, weights: named, objective }, `Wrote ${out}: objective ${objective.toFixed(4)}, weights\n${lines.join("\n")}`);
    });
}
