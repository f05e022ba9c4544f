/** @file `skein pool map`: how alike a pool's experts are, as a page. */

import type { Command } from "commander";
import * as z from "zod";
import { baseOptions } from "../base-model.ts";
import { subcommand } from "../command.ts";
import { baseModel } from "../common-options.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { withOptions } from "../schema-options.ts";

const mapFlags = z.strictObject({
  ...baseModel,
  base: z.string().optional().meta({ description: "The place of the pool's base model.", value: "dir", unset: "the place in pool.json" }),
  texts: z.string().optional().meta({
    description: "Texts whose tokens the experts serve: a text file with one a line, or rows with a prompt.",
    value: "file",
    unset: "32 openings of the base",
  }),
  router: z.string().optional().meta({
    description: "The router, with its options (skein methods).",
    value: "name",
    unset: "phatgoose where every expert has gates, else arrow",
  }),
  out: z.string().default("pool-map.html").meta({ description: "The page to write.", value: "file" }),
});
type Flags = CommonFlags & z.input<typeof mapFlags>;

export function addPoolMap(pool: Command, io: Io): void {
  const command = subcommand(pool, "map <pool>", {
    summary:
      "Draw a pool: experts by similarity of updates, gates and served tokens. Lists clusters, twins and experts that are never chosen.",
    example: "skein pool map my-pool --base models/t5 --texts prompts.txt --out pool-map.html",
  });
  withOptions(command, mapFlags).action(async (directory: string, flags: Flags) => {
    const { loadModel } = await import("../../library/model.ts");
    const { openPoolWithCards } = await import("../../inference/open.ts");
    const { listPool } = await import("../../storage/pool.ts");
    const { openingsOf } = await import("../../training/samples.ts");
    const { readPrompts } = await import("../../data/prompts.ts");
    const { poolMap } = await import("../../evaluation/comparison/pool-map.ts");
    const { poolPage } = await import("../../evaluation/report/pool-page.ts");
    const { checkFile, writeFileAtomically } = await import("../../checkpoint/atomic.ts");
    const { out = "pool-map.html", router, texts: file } = flags;
    await checkFile(out);
    const base = flags.base ?? (await listPool(directory)).base.name;
    await using model = await loadModel(base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
    const tokenizer = await model.base.tokenizer();
    const { experts, descriptions } = await openPoolWithCards(model, directory);
    const texts = file === undefined ? await openingsOf(model, tokenizer) : (await readPrompts(file)).map(({ text }) => text);
    const map = await poolMap(model, tokenizer, experts, texts, { router, descriptions });
    await writeFileAtomically(out, poolPage(map, `The pool ${directory}`));
    const { clusters, twins, neverChosen } = map;
    const lines = [
      ...clusters.filter((one) => one.experts.length > 1).map(({ name, experts: members }) => `Cluster ${name}: ${members.join(", ")}.`),
      ...twins.map(({ experts: [a, b], similarity }) => `Twins: ${a} and ${b} (${similarity.toFixed(2)}).`),
      ...(neverChosen.length > 0 ? [`Never chosen: ${neverChosen.join(", ")}.`] : []),
      `Wrote ${out}.`,
    ];
    show(io, flags, { out, ...map }, lines.join("\n"));
  });
}
