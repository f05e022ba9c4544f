/** @file Loads a graph in the engine that the options name. */

import { OptionError } from "../base/errors.ts";
import type { Graph } from "../graph/value.ts";
import type { Session as AnySession, Engine, LoadOptions } from "./engine.ts";
import { cpu, OTHERS, webgpu } from "./onnxruntime-node.ts";

export type { Feeds, Fetches } from "./engine.ts";

export interface SessionOptions extends LoadOptions {
  /** The engine. Default: the one that the environment variable SKEIN_DEVICE names, else the CPU. */
  readonly engine?: Engine;
}

export type Session = AnySession;
export const Session = {
  load(graph: Graph, { engine = standardEngine(), ...options }: SessionOptions = {}): Promise<AnySession> {
    return engine.load(graph, options);
  },
} as const;

export const ENGINES: readonly Engine[] = [cpu, webgpu, ...OTHERS];

/** The engine that the environment variable SKEIN_DEVICE names, else the CPU. */
export function standardEngine(): Engine {
  return engineNamed(process.env.SKEIN_DEVICE ?? cpu.name);
}

/** The engine of this name. */
export function engineNamed(name: string): Engine {
  const engine = ENGINES.find((candidate) => candidate.name === name);
  if (engine) return engine;
  const fix = `Choose one of: ${ENGINES.map((candidate) => candidate.name).join(", ")}.`;
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "device", got: name, known: ENGINES.map((engine) => engine.name) },
    what: `There is no engine named "${name}".`,
    where: "device",
    fix,
  });
}
