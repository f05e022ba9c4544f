/** @file Runs one task with one model: the model's answers, and their metrics. */

import type { Model } from "../../inference/model.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { DEFAULT_GENERATION, type Example, type Task } from "../tasks/task.ts";
import { encodeAnswer, encodeContext, encodePair } from "./encode.ts";
import { rightChoices } from "./rank.ts";
import { type Likelihood, type ScorerOptions, scoreTokens, type TokenRequest } from "./score-tokens.ts";
import { generateUntil, rollingLoglikelihood } from "./scorer.ts";
import { type Answer, type Answered, type Measured, measured, neededFor } from "./task-metrics.ts";

/** A task's score and metrics, and what became of each example. */
export interface TaskResult extends Omit<Measured, "perExample"> {
  readonly outcomes: readonly Outcome[];
}
/** The outcome of one example: the answer, and its values. */
export interface Outcome extends Answer {
  readonly values: Readonly<Record<string, number>>;
}

/** Answers every example of a task and measures the answers.
 *  @throws ShapeError for an example without tokens, StoppedError when the signal aborts. */
export async function runTask(model: Model, tokenizer: Tokenizer, task: Task, options: ScorerOptions = {}): Promise<TaskResult> {
  const answered = await answers(model, tokenizer, task, options);
  const { perExample, ...rest } = measured(task, answered);
  return { ...rest, outcomes: answered.map(({ answer }, i) => ({ ...answer, values: perExample[i]! })) };
}

async function answers(model: Model, tokenizer: Tokenizer, task: Task, options: ScorerOptions): Promise<Answered[]> {
  const needed = neededFor(task);
  const parts: Partial<Answer>[][] = [];
  if (needed.has("choices")) parts.push(await choiceAnswers(model, tokenizer, task, options));
  if (needed.has("text")) {
    const { until, maxTokens } = task.generation ?? DEFAULT_GENERATION;
    const limits = { until, maxTokens, maxInputTokens: task.maxInputTokens };
    const texts = await generateUntil(model, tokenizer, task.examples, { ...options, ...limits });
    parts.push(texts.map((text) => ({ text })));
  }
  if (needed.has("target")) parts.push((await targetLikelihoods(model, tokenizer, task, options)).map((target) => ({ target })));
  return task.examples.map((example, i) => ({ example, answer: Object.assign({}, ...parts.map((part) => part[i])) }));
}

async function choiceAnswers(model: Model, tokenizer: Tokenizer, task: Task, options: ScorerOptions): Promise<Answer[]> {
  const requests = task.examples.map((example) => requestOf(model, tokenizer, task, example, example.choices ?? []));
  const scores = await scoreTokens(model, requests, options);
  return task.examples.map((example, i) => ({ choices: scores[i]!, ...rightChoices(example, tokenizer) }));
}

async function targetLikelihoods(model: Model, tokenizer: Tokenizer, task: Task, options: ScorerOptions): Promise<Likelihood[]> {
  if (task.kind === "loglikelihood_rolling") {
    return rollingLoglikelihood(
      model,
      tokenizer,
      task.examples.map(({ target }) => target),
      options,
    );
  }
  const requests = task.examples.map((example) => requestOf(model, tokenizer, task, example, [example.target]));
  return (await scoreTokens(model, requests, options)).map(([likelihood]) => likelihood!);
}

/** An input and its continuations, encoded like the harness or like the authors. */
function requestOf(model: Model, tokenizer: Tokenizer, task: Task, { input, isRendered }: Example, texts: readonly string[]): TokenRequest {
  const { architecture } = model.base;
  const continuations = texts.map((text) => task.targetDelimiter + text);
  if (task.choiceScore === "token_mean") {
    return {
      context: encodeContext(tokenizer, architecture, input, { maxTokens: task.maxInputTokens, isRendered }),
      continuations: continuations.map((text) => encodeAnswer(tokenizer, architecture, { prompt: input, answer: text, isRendered })),
    };
  }
  const pairs = continuations.map((continuation) => encodePair(tokenizer, architecture, { context: input, continuation }));
  return { context: pairs[0]!.context, continuations: pairs.map((pair) => pair.continuation) };
}
