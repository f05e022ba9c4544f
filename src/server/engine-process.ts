/** @file The engine's process: opens the engine and answers calls. What it says within one turn goes out as one message. It ends with its
 *  parent, and leaves signals to it. */

import type { Backend, Stream } from "./backend.ts";
import { openEngine } from "./open-engine.ts";
import { Cancelled, detailsOf, isBug, problemOf, thrownData } from "./problem.ts";
import type { ErrorData, FromEngine, PlainCall, ToEngine } from "./process-messages.ts";

let unsent: FromEngine[] = [];
function say(message: FromEngine): void {
  if (unsent.push(message) > 1) return;
  queueMicrotask(() => {
    const messages = unsent;
    unsent = [];
    if (process.connected) process.send?.(messages);
  });
}

function errorData(error: unknown): ErrorData {
  const bug = isBug(error) ? detailsOf(error) : undefined;
  return { problem: problemOf(error), isCancelled: error instanceof Cancelled, bug };
}

const streams = new Map<number, Stream>();

async function follow(id: number, stream: Stream): Promise<void> {
  streams.set(id, stream);
  try {
    for await (const event of stream) say({ kind: "event", id, event });
    say({ kind: "end", id });
  } catch (error) {
    say({ kind: "end", id, error: errorData(error) });
  } finally {
    streams.delete(id);
  }
}

async function answer(backend: Backend, id: number, name: PlainCall, argument: unknown): Promise<void> {
  try {
    const call = backend[name] as (argument: unknown) => Promise<unknown>;
    say({ kind: "result", id, value: await call.call(backend, argument) });
  } catch (error) {
    say({ kind: "error", id, error: errorData(error) });
  }
}

async function open(options: Parameters<typeof openEngine>[0]): Promise<void> {
  try {
    const engine = await openEngine(options, { onWarning: (text) => say({ kind: "warning", text }) });
    process.on("message", (message: ToEngine) => {
      if (message.kind === "submit") void follow(message.id, engine.submit(message.request));
      else if (message.kind === "cancel") streams.get(message.id)?.cancel();
      else if (message.kind === "call") void answer(engine, message.id, message.name, message.argument);
      else if (message.kind === "close") {
        for (const stream of streams.values()) stream.cancel();
        void engine.close().finally(() => process.disconnect());
      }
    });
    say({ kind: "ready" });
  } catch (error) {
    say({ kind: "unable", error: thrownData(error) });
  }
}

process.once("message", (message: ToEngine) => {
  if (message.kind === "open") void open(message.options);
});
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {}).on("SIGTERM", () => {});
