/** @file `skein forward`: runs one batch through a model, from file to file. */

import type { Command } from "commander";
import * as z from "zod";
import { baseOptions } from "../base-model.ts";
import { type ModelFlags, subcommand, withModelFlags } from "../command.ts";
import { type Io, show, warn } from "../io.ts";
import { withOptions } from "../schema-options.ts";

const forwardFlags = z.strictObject({
  inputs: z.string().meta({
    description:
      "Safetensors with input_ids, attention_mask, decoder_input_ids: int64 [batch, sequence]; routing_bias: float32 [batch, experts].",
    value: "file",
  }),
  out: z.string().meta({ description: "The output file with the logits: float32 [batch, sequence, vocabulary].", value: "file" }),
  routes: z.boolean().default(false).meta({ description: "Also write routes.<module>.experts and routes.<module>.weights." }),
});
type Flags = ModelFlags & z.input<typeof forwardFlags>;

export function addForward(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "forward", {
    summary,
    example: "skein forward --base models/t5 --pool my-pool --router phatgoose --inputs in.safetensors --out out.safetensors --routes",
  });
  withModelFlags(command);
  withOptions(command, forwardFlags).action(async (flags: Flags) => {
    const { loadModel } = await import("../../library/model.ts");
    const { ownRows } = await import("../../inference/row-choices.ts");
    const { readBatch, writeForward } = await import("../../inference/batch-file.ts");
    const { checkFile } = await import("../../checkpoint/atomic.ts");
    await checkFile(flags.out);
    const { batch, ignored } = await readBatch(flags.inputs);
    if (ignored.length > 0) warn(io, flags, [`tensors of ${flags.inputs} that are not used: ${ignored.join(", ")}`]);
    const warnings: string[] = [];
    await using model = await loadModel(flags.base, {
      ...flags,
      ...baseOptions(io, flags),
      ...(batch.routingBias && { rows: ownRows }),
      onWarning: (warning) => warnings.push(warning),
    });
    const idle = flags.routes && flags.pool === undefined ? ["--routes has no effect: only experts of a pool (--pool) are routed."] : [];
    warn(io, flags, [...warnings, ...idle]);
    const result = await model.forward(batch, { routes: flags.routes === true });
    await writeForward(flags.out, result);
    const { logits, routes } = result;
    const summary = { out: flags.out, logits: logits.shape, experts: model.woven.experts, routes: [...(routes?.keys() ?? [])] };
    const routed = routes && routes.size > 0 ? ` and the routes of ${routes.size} modules` : "";
    show(io, flags, summary, `Wrote logits [${logits.shape.join(", ")}]${routed} to ${flags.out}.`);
  });
}
