/** @file A session as one value: what is linked to, exported, and imported again. Whatever is read is checked first. */

import { type Run, type Settings, STANDARD } from "./run.ts";

export const VERSION = 1;

export interface Session {
  readonly skein: typeof VERSION;
  readonly prompt: string;
  readonly settings: Settings;
  readonly run?: Run | undefined;
  readonly methods: readonly string[];
  readonly compared: readonly Run[];
}

/** What a link carries: the answer's token ids bring back its routes from the server. */
export interface Link {
  readonly v: typeof VERSION;
  readonly p: string;
  readonly s: Partial<Settings>;
  readonly a?: readonly number[] | undefined;
  readonly m?: readonly string[] | undefined;
}

export class SessionError extends Error {}

const MOST_TOKENS = 20_000;

/** "s=" and the link's JSON, deflated, in base64 of URLs. */
export async function linkFragment(link: Link): Promise<string> {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(link)), new CompressionStream("deflate-raw"));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `s=${btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

/** Undefined where the fragment carries none. */
export async function linkIn(fragment: string): Promise<Link | undefined> {
  const [, packed] = /^#?s=([\w-]+)$/.exec(fragment) ?? [];
  if (packed === undefined) return undefined;
  try {
    const text = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await through(
      Uint8Array.from(text, (one) => one.charCodeAt(0)),
      new DecompressionStream("deflate-raw"),
    );
    const link = object(JSON.parse(new TextDecoder().decode(bytes)), "link");
    if (link.v !== VERSION) throw new SessionError(`it is of version ${String(link.v)}`);
    return {
      v: VERSION,
      p: textOf(link.p, "prompt"),
      s: settingsIn(link.s),
      ...(link.a !== undefined && { a: list(link.a, "answer").map((one) => number(one, "token id")) }),
      ...(link.m !== undefined && { m: list(link.m, "methods").map((one) => textOf(one, "method")) }),
    };
  } catch (error) {
    throw new SessionError(`This link cannot be read (${messageOf(error)}). Ask for a new one, or begin anew.`);
  }
}

const MOST_BYTES = 50 * 2 ** 20; // a small link could unfold into far more

/** Bytes in, other bytes out. */
interface Way {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<BufferSource>;
}

async function through(bytes: Uint8Array<ArrayBuffer>, way: Way): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(way).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MOST_BYTES) throw new SessionError("it is too large");
    parts.push(value);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A session from exported JSON, or from the exported page that carries it. */
export function sessionIn(text: string): Session {
  const carried = /<script type="application\/json" id="carried">([\s\S]*?)<\/script>/.exec(text)?.[1];
  try {
    const session = object(JSON.parse(carried ?? text), "session");
    if (session.skein !== VERSION) throw new SessionError("it is no session of this version of the playground");
    return {
      skein: VERSION,
      prompt: textOf(session.prompt, "prompt"),
      settings: { ...STANDARD, ...settingsIn(session.settings) },
      methods: list(session.methods ?? [], "methods").map((one) => textOf(one, "method")),
      compared: list(session.compared ?? [], "compared").map(runIn),
      ...(session.run !== undefined && { run: runIn(session.run) }),
    };
  } catch (error) {
    throw new SessionError(`This file cannot be read (${messageOf(error)}). Choose a JSON or HTML file that the playground exported.`);
  }
}

function runIn(value: unknown): Run {
  const run = object(value, "run");
  const experts = list(run.experts, "experts").map((one) => textOf(one, "expert"));
  const routeIn = (one: unknown) => {
    const route = object(one, "route");
    const rows = (of: unknown, name: string, check: (value: unknown) => number) => list(of, name).map((row) => list(row, name).map(check));
    const index = (at: unknown) => {
      const found = number(at, "expert");
      if (!Number.isInteger(found) || found < 0 || found >= experts.length) throw new SessionError(`there is no expert ${found}`);
      return found;
    };
    const own = { experts: rows(route.experts, "experts", index), weights: rows(route.weights, "weights", (one) => number(one, "weight")) };
    const isWhole = own.experts.length === own.weights.length && own.experts.every((row, m) => row.length === own.weights[m]!.length);
    if (!isWhole) throw new SessionError("experts and weights do not belong together");
    return { ...route, ...own };
  };
  const tokens = list(run.tokens, "tokens").map((one) => {
    const token = routeIn(one) as Record<string, unknown> & ReturnType<typeof routeIn>;
    const top = list(token.top ?? [], "alternatives").map((other) => {
      const { id, token: text, logprob } = object(other, "alternative");
      return { id: number(id, "id"), token: textOf(text, "token"), logprob: number(logprob, "logprob"), bytes: [] };
    });
    const logprob = token.logprob === undefined ? undefined : number(token.logprob, "logprob");
    const { experts: chosen, weights } = token;
    return {
      id: number(token.id, "id"),
      text: textOf(token.text, "text"),
      logprob,
      top,
      experts: chosen,
      weights,
      isForced: token.isForced === true,
    };
  });
  if (tokens.length > MOST_TOKENS) throw new SessionError("it has too many tokens");
  const timing = run.timing === undefined ? undefined : object(run.timing, "timing");
  return {
    prompt: textOf(run.prompt, "prompt"),
    settings: { ...STANDARD, ...settingsIn(run.settings) },
    experts,
    modules: list(run.modules, "modules").map((one) => textOf(one, "module")),
    tokens,
    promptModules: list(run.promptModules ?? [], "modules").map((one) => textOf(one, "module")),
    promptRoutes: list(run.promptRoutes ?? [], "routes").map(routeIn),
    promptTokens: number(run.promptTokens ?? 0, "tokens"),
    status: "done",
    ...((run.reason === "stop" || run.reason === "length") && { reason: run.reason }),
    ...(timing && {
      timing: { first: number(timing.first, "time"), total: number(timing.total, "time"), tokens: number(timing.tokens, "tokens") },
    }),
  };
}

function settingsIn(value: unknown): Partial<Settings> {
  const given = object(value ?? {}, "settings");
  const numbers = Object.fromEntries(
    ["topK", "routingTemperature", "temperature", "seed", "maxTokens"].flatMap((name) =>
      typeof given[name] === "number" ? [[name, given[name]]] : [],
    ),
  );
  return {
    ...numbers,
    ...(given.method !== undefined && { method: textOf(given.method, "method") }),
    ...(given.chat !== undefined && { chat: given.chat === true }),
    ...(given.off !== undefined && { off: list(given.off, "experts").map((one) => textOf(one, "expert")) }),
    ...(given.pins !== undefined && {
      pins: list(given.pins, "pins").map((one) => {
        const { from, to, expert } = object(one, "pin");
        return { from: number(from, "pin"), to: number(to, "pin"), expert: textOf(expert, "expert") };
      }),
    }),
  };
}

function object(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new SessionError(`its ${what} is missing`);
}
function list(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new SessionError(`its ${what} are no list`);
}
function textOf(value: unknown, what: string): string {
  if (typeof value === "string") return value;
  throw new SessionError(`its ${what} is no text`);
}
function number(value: unknown, what: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new SessionError(`its ${what} is no number`);
}
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
