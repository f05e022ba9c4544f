/** @file The backend behind the page's own address: the points under /skein of `skein serve`. */

import { type Backend, BackendError, type GenerateEvent } from "./backend.ts";

interface ErrorBody {
  readonly error?: { readonly message?: string; readonly code?: string | null; readonly param?: string | null };
}

/** `keyOf`: the API key, if there is one. */
export function httpBackend(keyOf: () => string | undefined): Backend {
  const ask = async (path: string, body?: unknown, signal?: AbortSignal): Promise<Response> => {
    const key = keyOf();
    const headers = { ...(body !== undefined && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) };
    const init: RequestInit = {
      headers,
      ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
      ...(signal && { signal }),
    };
    const answer = await fetch(path, init).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw new BackendError("The server does not answer. Look whether skein serve still runs, then try again.", { code: "down" });
    });
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  };
  const json = async <T>(path: string, body?: unknown, signal?: AbortSignal) => (await ask(path, body, signal)).json() as Promise<T>;
  return {
    world: () => json("/skein/world"),
    inspect: (request, signal) => json("/skein/inspect", request, signal),
    probe: (request) => json("/skein/probe", request),
    pool: () => json("/skein/pool"),
    results: () => json("/skein/results"),
    samples: (request) => json("/skein/samples", request),
    generate: async function* (request, signal) {
      const answer = await ask("/skein/generate", request, signal);
      yield* eventsOf(answer, signal);
    },
  };
}

async function* eventsOf(answer: Response, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  let isFinished = false;
  for (;;) {
    const { value, done } = await reader.read().catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw cut();
    });
    if (done) break;
    held += value;
    const events = held.split("\n\n");
    held = events.pop()!;
    for (const text of events) {
      const name = /^event: (.*)$/m.exec(text)?.[1];
      const data = /^data: (.*)$/m.exec(text)?.[1];
      if (name === undefined || data === undefined) continue; // a comment
      const content = JSON.parse(data) as ErrorBody;
      if (name === "error") throw sentence(content, 500);
      isFinished ||= name === "finished";
      yield { kind: name, ...content } as unknown as GenerateEvent;
    }
  }
  if (!isFinished && !signal.aborted) throw cut();
}

function cut(): BackendError {
  return new BackendError("The connection broke in the middle of the answer. Look whether skein serve still runs, then generate again.", {
    code: "down",
  });
}

async function problemOf(answer: Response): Promise<BackendError> {
  const body = (await answer.json().catch(() => ({}))) as ErrorBody;
  return sentence(body, answer.status, answer.headers.get("retry-after"));
}

/** What the server says, and what to do about it. */
function sentence({ error = {} }: ErrorBody, status: number, wait: string | null = null): BackendError {
  const { message = `The server answered ${status}.`, code, param } = error;
  const remedy = remedyOf(status, code ?? undefined, param ?? undefined, wait);
  return new BackendError(`${message}${remedy ? ` ${remedy}` : ""}`, { status, code: code ?? undefined });
}

function remedyOf(status: number, code: string | undefined, param: string | undefined, wait: string | null): string | undefined {
  if (status === 401) return "Enter the server's API key in the field above.";
  if (status === 429) return `Wait ${wait ?? "a few"} seconds, then generate again.`;
  if (code === "context_length_exceeded") return "Shorten the prompt.";
  if (code === "model_not_found") return "Reload the page: the pool has changed since.";
  if (param === "routing.experts") return "The pool or the method has changed: choose the experts again, or another method.";
  if (param?.startsWith("routing")) return "Choose another method.";
  if (status === 503) return "Wait a moment, then generate again.";
  if (status === 504) return "Ask for fewer tokens.";
  return undefined;
}
