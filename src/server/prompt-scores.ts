/** @file Log-probabilities of a prompt's own tokens where the model reads prompts whole: what `echo` reports. Other models compute them while
 *  they read a prompt (generation/prompt-reading.ts). */

import { padded } from "../base/tensor.ts";
import { LABELS, type NextToken, scoreOutputs, scoresIn } from "../generation/prompt-reading.ts";
import { batchFeeds } from "../inference/batch.ts";
import type { Model } from "../inference/model.ts";
import { rowFeedsOf } from "../inference/row-feeds.ts";
import { logitsOf } from "../models/logits.ts";
import { badField } from "./problem.ts";

/** For each token of the prompt but the first: how likely it was, and what was likeliest. */
export async function wholePromptScores(model: Model, prompt: readonly number[], top: number): Promise<NextToken[]> {
  const { base, runner, woven } = model;
  const { architecture } = base;
  if (architecture.kind === "encoder-decoder") {
    throw badField("echo", "A model with an encoder reads its prompt whole: its tokens have no log-probabilities.", "unsupported_value");
  }
  const { ids, mask } = padded([prompt]);
  const feeds = batchFeeds({ inputIds: ids, attentionMask: mask }, architecture);
  const rows = await rowFeedsOf(woven, { inputIds: ids }, feeds);
  const [labels] = [padded([[...prompt.slice(1), 0]]).ids];
  const k = Math.max(1, top);
  const fetches = await runner.session(
    { graph: "prompt scores", k },
    woven,
    (graph, parts) => scoreOutputs(graph, logitsOf(graph, architecture, parts()), k),
    (session) => runner.run(session, woven, { ...rows, ...feeds, [LABELS]: labels }),
  );
  return scoresIn(fetches, 0, 0, prompt.length - 1, top);
}
