/** @file The post-processors of a tokenizer.json: they add tokens around a text (reference: huggingface/tokenizers, processors/). */

import * as z from "zod";

/** Adds the special tokens around the ids of one text. */
export type PostProcessor = (ids: readonly number[]) => readonly number[];

const named = z.tuple([z.string(), z.int()]);
const around = z.object({ cls: named, sep: named });
const template = z.object({
  single: z.array(
    z.union([z.object({ SpecialToken: z.object({ id: z.string() }) }), z.object({ Sequence: z.object({ id: z.string() }) })]),
  ),
  special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int()) })),
});

const bert = (config: unknown): PostProcessor => {
  const { cls, sep } = around.parse(config);
  return (ids) => [cls[1], ...ids, sep[1]];
};

const KINDS: Readonly<Record<string, (config: unknown) => PostProcessor>> = {
  BertProcessing: bert,
  ByteLevel: () => (ids) => ids, // it changes offsets only
  RobertaProcessing: bert,
  Sequence: (config) => {
    const all = z
      .object({ processors: z.array(z.unknown()) })
      .parse(config)
      .processors.map(postProcessorOf);
    return (ids) => all.reduce((before, processor) => processor(before), ids);
  },
  TemplateProcessing: (config) => {
    const { single, special_tokens } = template.parse(config);
    const parts = single.map((part) => {
      if ("Sequence" in part) return undefined;
      const token = special_tokens[part.SpecialToken.id];
      if (!token)
        throw new Error(`TemplateProcessing names ${JSON.stringify(part.SpecialToken.id)}, which is not among its special_tokens`);
      return token.ids;
    });
    return (ids) => parts.flatMap((part) => part ?? ids);
  },
};

/** The post-processor that `config` describes; without one, nothing is added. An unknown kind is an error that names it. */
export function postProcessorOf(config: unknown): PostProcessor {
  if (config === null || config === undefined) return (ids) => ids;
  const { type } = z.object({ type: z.string() }).parse(config);
  const kind = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (!kind) throw new Error(`Unknown PostProcessor type: ${type}`);
  return kind(config);
}
