/** @file Sends one question to a server with OpenAI's chat completions: POST <endpoint>/chat/completions.
 *
 *  After too many requests (429), a server error (5xx) or a broken connection it tries again, after 1, 2, 4, ... seconds or the time in
 *  the server's Retry-After. */

import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { messageOf, OptionError, type UserError } from "../../base/errors.ts";

export interface ChatEndpoint {
  /** Base address with its version: "https://api.openai.com/v1", "http://localhost:8000/v1". */
  readonly endpoint: string;
  readonly model: string;
  readonly apiKey?: string | undefined;
  /** Longest reply in tokens. Default 512. */
  readonly maxTokens?: number;
  /** Tries after the first. Default 6. */
  readonly retries?: number;
  readonly signal?: AbortSignal | undefined;
  /** The network; default the global fetch. */
  readonly fetch?: typeof fetch;
  /** Waits this many milliseconds. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
}

const LONGEST_WAIT = 60_000; // ms
const replySchema = z.object({ choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }) })).min(1) });

/** A function that sends one message to the model and returns the greedy reply. */
export function chatAsk(server: ChatEndpoint): (message: string) => Promise<string> {
  const { retries = 6, signal } = server;
  const sleep = server.sleep ?? ((ms) => setTimeout(ms, undefined, { ...(signal && { signal }) }));
  return async (message) => {
    for (let attempt = 0; ; attempt++) {
      const { text, problem, wait } = await tryOnce(server, message);
      if (text !== undefined) return text;
      if (attempt >= retries || signal?.aborted) throw problem;
      await sleep(Math.min(LONGEST_WAIT, wait ?? 1000 * 2 ** attempt));
    }
  };
}

interface Attempt {
  readonly text?: string;
  /** The reason, if it may be tried again. */
  readonly problem?: UserError;
  readonly wait?: number;
}

async function tryOnce(server: ChatEndpoint, message: string): Promise<Attempt> {
  const { model, apiKey, maxTokens = 512, signal, fetch: send = fetch } = server;
  const where = `${server.endpoint.replace(/\/+$/, "")}/chat/completions`;
  let response: Response;
  let body: string;
  try {
    response = await send(where, {
      method: "POST",
      headers: { "content-type": "application/json", ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}) },
      body: JSON.stringify({ model, messages: [{ role: "user", content: message }], temperature: 0, max_tokens: maxTokens }),
      ...(signal && { signal }),
    });
    body = await response.text();
  } catch (cause) {
    const fix = "Check `endpoint` and the network, and call it again: what is done is kept.";
    return {
      problem: new OptionError({
        code: "endpoint-unreachable",
        what: `The endpoint cannot be reached: ${reasonOf(cause)}.`,
        where,
        fix,
        cause,
      }),
    };
  }
  if (response.ok) return { text: textOf(body, where) };
  const problem = refused(response.status, body, where);
  if (response.status !== 429 && response.status < 500) throw problem;
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return { problem, ...(Number.isFinite(seconds) && seconds >= 0 && { wait: 1000 * seconds }) };
}

/** The reason of a failure of fetch. Its own message says only that it failed; the reason is in its cause. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error && error.cause.message !== "" ? ` (${error.cause.message})` : "";
  return `${messageOf(error)}${inner}`;
}

function textOf(body: string, where: string): string {
  try {
    return replySchema.parse(JSON.parse(body)).choices[0]!.message.content ?? "";
  } catch (cause) {
    const what = `The reply is no chat completion: ${body.slice(0, 200)}`;
    throw new OptionError({
      code: "endpoint-bad-reply",
      what,
      where,
      fix: "Give the base address of an OpenAI-compatible server, up to /v1.",
      cause,
    });
  }
}

function refused(status: number, body: string, where: string): OptionError {
  const fix =
    status === 401 || status === 403
      ? "Give a valid `apiKey`."
      : status === 404
        ? "Check `endpoint` (up to /v1) and `model`."
        : "See what the server says, and call it again: what is done is kept.";
  return new OptionError({
    code: "endpoint-refused",
    data: { status },
    what: `The endpoint answered ${status}: ${body.slice(0, 300).trim()}`,
    where,
    fix,
  });
}
