/** @file Jobs for tests of the scheduler, and their results. */

import { type Model, withWoven } from "../inference/model.ts";
import type { Woven } from "../inference/woven.ts";
import { textStream } from "../text/stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { CompletionText } from "./completion-text.ts";
import type { Job } from "./job.ts";
import { type GenerationOptions, generationSettings } from "./options.ts";
import { Scheduler } from "./scheduler.ts";
import { endingIds, sequencesFor, type TakenToken } from "./sequence.ts";
import { stopWatch } from "./stop-strings.ts";

export interface TestJob {
  readonly model: Model;
  readonly woven: Woven;
  readonly prompt: readonly number[];
  readonly options: GenerationOptions;
  readonly tokenizer?: Tokenizer;
  readonly client?: string;
  readonly signal?: AbortSignal;
  /** Called after each token. */
  readonly onToken?: (token: TakenToken) => void;
}

/** The parts of a completion that tests compare. */
export interface Outcome {
  readonly ids: readonly number[];
  readonly logprobs: readonly number[];
  readonly text: string;
  readonly finishReason: string | undefined;
  readonly cachedTokens: number;
}

/** Submits a job. Resolves to its completions, or rejects with the error that ended it early. */
export function submitted(scheduler: Scheduler, { model: base, woven, prompt, tokenizer, client, signal, onToken, ...job }: TestJob) {
  const model = withWoven(base, woven);
  const settings = generationSettings({ logprobs: 0, ignoreEos: true, ...job.options }, model.base.checkpoint);
  const textOf = tokenizer && (() => new CompletionText(textStream(tokenizer), stopWatch(settings.stop)));
  const sequences = sequencesFor(model.base.architecture, [prompt], settings, textOf);
  const own: Job = {
    model,
    prompts: [prompt],
    sequences,
    ends: endingIds(settings),
    routes: settings.routes,
    signal,
    ...(client && { client }),
  };
  return new Promise<Outcome[]>((resolve, reject) => {
    const outcomes = () =>
      sequences.map(({ ids, choices, text, finishReason, cachedTokens }): Outcome => {
        const logprobs = choices.map(({ logprob }) => logprob!);
        return { ids: [...ids], logprobs, text: text?.all ?? "", finishReason, cachedTokens };
      });
    const token = (taken: TakenToken) => onToken?.(taken);
    scheduler.submit(own, { token, end: (error) => (error === undefined ? resolve(outcomes()) : reject(error)) });
  });
}

/** The results of a job that runs alone, without kept caches. */
export const alone = (job: TestJob, chunk?: number) => submitted(new Scheduler({ keptBytes: 0, ...(chunk && { chunk }) }), job);
