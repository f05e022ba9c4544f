/** @file `skein probe`: which experts of a pool know a text, by routing, by loss, and by retrieval, side by side. */

import type { Command } from "commander";
import * as z from "zod";
import type { Probe, ProbedExpert } from "../../library/probe.ts";
import { baseOptions } from "../base-model.ts";
import { subcommand } from "../command.ts";
import { baseModel } from "../common-options.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, table, warn } from "../io.ts";
import { withOptions } from "../schema-options.ts";

const probeFlags = z.strictObject({
  ...baseModel,
  base: z.string().optional().meta({ description: "The place of the pool's base model.", value: "dir", unset: "the place in pool.json" }),
  pool: z.string().meta({ description: "The pool whose experts are compared.", value: "dir" }),
  router: z.string().optional().meta({
    description: "The router, with its options (skein methods).",
    value: "name",
    unset: "phatgoose where every expert has gates, else arrow",
  }),
  topK: z.int().min(1).optional().meta({ description: "Experts for each token.", value: "k", unset: "the router's" }),
  answer: z.string().optional().meta({
    description: "What follows each text: its loss is compared, in place of the text's own.",
    value: "text",
    unset: "the text alone",
  }),
  shown: z.int().min(1).default(10).meta({ description: "Experts that are listed for each text." }),
});
type Flags = CommonFlags & z.input<typeof probeFlags>;

export function addProbe(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "probe <texts...>", {
    summary,
    example: 'skein probe "give the contrary of 1. hot" --pool my-pool --base models/t5',
  });
  withOptions(command, probeFlags).action(async (texts: readonly string[], flags: Flags) => {
    const { loadModel } = await import("../../library/model.ts");
    const { openExperts } = await import("../../inference/open.ts");
    const { listPool } = await import("../../storage/pool.ts");
    const { probe } = await import("../../library/probe.ts");
    const base = flags.base ?? (await listPool(flags.pool)).base.name;
    await using model = await loadModel(base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
    const experts = await openExperts(model, flags.pool);
    const tokenizer = await model.base.tokenizer();
    const { router, topK, answer, shown = 10 } = flags;
    const probes = await interruptible(io, (signal) => probe(model, tokenizer, experts, texts, { router, topK, answer, signal }));
    show(io, flags, { probes }, probes.map((one) => probeText(one, shown)).join("\n\n"));
  });
}

/** One text: the experts by their share, with their ranks by loss and by retrieval. */
function probeText({ text, router, layers, baseLoss, experts, notes }: Probe, shown: number): string {
  const byLoss = ranks(experts, ({ loss }) => (loss === undefined ? undefined : -loss));
  const byNear = ranks(experts, ({ similarity }) => similarity);
  const order = [...experts].sort((a, b) => b.share - a.share);
  const hasLoss = experts.some(({ loss }) => loss !== undefined);
  const hasNear = experts.some(({ similarity }) => similarity !== undefined);
  const rows = order
    .slice(0, shown)
    .map((expert) => [
      expert.name,
      percent(expert.share),
      expert.layers.map(percent).join(" "),
      ...(hasLoss ? [`${expert.loss?.toFixed(3)} (${byLoss.get(expert.name)})`] : []),
      ...(hasNear ? [`${expert.similarity?.toFixed(3)} (${byNear.get(expert.name)})`] : []),
    ]);
  const head = ["expert", router, `by layer (${layers.length})`, ...(hasLoss ? ["loss alone"] : []), ...(hasNear ? ["retrieval"] : [])];
  const base = baseLoss === undefined ? [] : [`Loss of the base: ${baseLoss.toFixed(3)}.`];
  const more = experts.length > shown ? [`${experts.length - shown} more experts: --shown.`] : [];
  return [text, table([head, ...rows]), ...base, ...notes, ...more].join("\n");
}

const percent = (share: number) => `${Math.round(100 * share)}%`;

/** Each expert's rank, from 1, by a number of which more is better. */
function ranks(experts: readonly ProbedExpert[], of: (expert: ProbedExpert) => number | undefined): ReadonlyMap<string, number> {
  const order = [...experts].sort((a, b) => (of(b) ?? 0) - (of(a) ?? 0));
  return new Map(order.map(({ name }, i) => [name, i + 1]));
}
