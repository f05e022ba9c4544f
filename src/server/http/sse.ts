/** @file Server-sent events. An event waits until the reader wants more; a reader that goes away ends the work behind it. */

import type { ProblemData } from "../problem.ts";

export interface SseEvent {
  /** The event's name, where the protocol has names. */
  readonly event?: string;
  readonly data: unknown;
}

const utf8 = new TextEncoder();
const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no", // nginx passes each event on at once
};
const KEEP_ALIVE = 15_000; // milliseconds; a comment tells proxies and clients that somebody still works

export interface SseOptions {
  readonly cancel: () => void;
  /** What to send for an error in mid-stream; the response has its status already. */
  readonly failed: (error: unknown) => readonly SseEvent[];
  /** The last line, "[DONE]" in most of OpenAI's streams. */
  readonly closing?: string;
}

export function sseResponse(events: AsyncIterable<SseEvent>, { cancel, failed, closing }: SseOptions): Response {
  const source = events[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => {
        if (!isOver && (controller.desiredSize ?? 0) > 0) controller.enqueue(utf8.encode(": working\n\n"));
      }, KEEP_ALIVE);
      timer.unref();
    },
    async pull(controller) {
      const end = (last: string) => {
        isOver = true;
        clearInterval(timer);
        controller.enqueue(utf8.encode(last));
        controller.close();
      };
      const done = closing === undefined ? "" : `data: ${closing}\n\n`;
      try {
        const { value, done: isLast } = await source.next();
        if (isOver) return;
        if (isLast) end(done);
        else controller.enqueue(utf8.encode(written(value)));
      } catch (error) {
        if (!isOver) end(failed(error).map(written).join("") + done);
      }
    },
    cancel() {
      isOver = true;
      clearInterval(timer);
      cancel();
    },
  });
  return new Response(stream, { headers: HEADERS });
}

function written({ event, data }: SseEvent): string {
  return `${event === undefined ? "" : `event: ${event}\n`}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** An error as OpenAI writes it. */
export function errorBody({ status, message, param, code }: ProblemData) {
  return { error: { message, type: TYPES[status] ?? "invalid_request_error", param: param ?? null, code: code ?? null } };
}

const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "server_error",
  504: "server_error",
};
