/** @file `skein statistics` and `skein lorahub`: compute statistics and combinations of experts from examples. */

import type { Command } from "commander";
import * as z from "zod";
import { searchOptions } from "../../routing/lorahub.ts";
import { statisticsOptions } from "../../training/statistics.ts";
import { baseOptions } from "../base-model.ts";
import { subcommand } from "../command.ts";
import { baseModel, run } from "../common-options.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { downloadProgress } from "../progress.ts";
import { checkDataOrSamples, sampleFlags, samplesOf } from "../samples.ts";
import { optionsFrom, withOptions } from "../schema-options.ts";

const statisticsFlags = z.strictObject({
  ...baseModel,
  data: z.string().optional().meta({ description: "The expert's examples. The first 1000 are used.", value: "file" }),
  run: run.meta({ description: "Folder of the samples, to resume from.", unset: "beside the expert" }),
  ...sampleFlags,
  ...statisticsOptions.shape,
});
type StatisticsFlags = CommonFlags & z.input<typeof statisticsFlags>;

export function addStatistics(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "statistics <expert>", {
    summary,
    example: "skein statistics experts/nouns --base models/t5 --data nouns.jsonl",
  });
  withOptions(command, statisticsFlags).action(
    async (expert: string, { base, data, positions, embedder, maxLength, ...flags }: StatisticsFlags) => {
      checkDataOrSamples({ data, ...flags });
      const { loadModel } = await import("../../library/model.ts");
      const { readTrainingExamples } = await import("../../data/training-data.ts");
      const { gatherStatistics } = await import("../../training/statistics.ts");
      const { noteSamples } = await import("../../storage/card.ts");
      await using model = await loadModel(base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
      const tokenizer = await model.base.tokenizer();
      const place = { model, tokenizer, expert, run: flags.run ?? `${expert}.statistics-run`, openings: "expert" as const };
      const { training: examples, source } =
        data === undefined
          ? await interruptible(io, (signal) => samplesOf(io, flags, { ...place, signal }))
          : { training: await readTrainingExamples(data), source: undefined };
      const found = await gatherStatistics({ model, tokenizer, expert, examples, positions, embedder, maxLength });
      if (source) await noteSamples(expert, "Statistics", source.count, source.prompts);
      const text = `Wrote the mean activations of ${found.modules} modules and ${found.examples} embeddings by ${found.embedder} to ${expert}.`;
      show(io, flags, { expert, ...found }, text);
    },
  );
}

const lorahubFlags = z.strictObject({
  ...baseModel,
  pool: z.string().meta({ description: "The pool whose experts are combined: a folder, or org/name on the Hub.", value: "dir" }),
  data: z.string().meta({ description: "A few examples of the new task.", value: "file" }),
  out: z.string().meta({ description: "Folder of the combined adapter.", value: "dir" }),
  ...searchOptions.shape,
  maxLength: statisticsOptions.shape.maxLength,
});
type LorahubFlags = CommonFlags & z.input<typeof lorahubFlags>;

export function addLorahub(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "lorahub", {
    summary,
    example: "skein lorahub --base models/t5 --pool my-pool --data five-examples.jsonl --out combined",
  });
  withOptions(command, lorahubFlags).action(async ({ base, pool, data, out, maxLength = 512, ...flags }: LorahubFlags) => {
    const { loadModel } = await import("../../library/model.ts");
    const { openExperts } = await import("../../inference/open.ts");
    const { readTrainingExamples } = await import("../../data/training-data.ts");
    const { encodeExamples } = await import("../../training/examples.ts");
    const { lorahub } = await import("../../training/lorahub.ts");
    const { saveAdapter } = await import("../../storage/peft-save.ts");
    const { checkFolder } = await import("../../checkpoint/atomic.ts");
    await checkFolder(out);
    await using model = await loadModel(base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
    const { resolvePool } = await import("../../hub/resolve-pool.ts");
    const experts = await openExperts(model, await resolvePool(pool, { onProgress: downloadProgress(io, flags) }));
    const tokenizer = await model.base.tokenizer();
    const limits = { maxInput: maxLength, maxTarget: maxLength };
    const { examples } = encodeExamples(await readTrainingExamples(data), tokenizer, model.base.architecture, limits);
    const { adapter, weights, objective } = await lorahub(model, experts, examples, optionsFrom(searchOptions, flags));
    await saveAdapter(out, adapter, { baseName: base });
    const named = Object.fromEntries(experts.map(({ name }, z) => [name, weights[z]!]));
    const lines = Object.entries(named).map(([name, weight]) => `  ${name}  ${weight.toFixed(3)}`);
    show(io, flags, { out, weights: named, objective }, `Wrote ${out}: objective ${objective.toFixed(4)}, weights\n${lines.join("\n")}`);
  });
}
