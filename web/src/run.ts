/** @file What one generation was and gave: plain data, which is shown, undone, linked to and exported. */

import type { ScoredToken } from "./backend.ts";

/** A span of the answer that one expert serves alone. Tokens are counted from 0; `to` is not part of it. */
export interface Pin {
  readonly from: number;
  readonly to: number;
  readonly expert: string;
}

export interface Settings {
  /** "" for the pool's own method; "base"; "expert NAME"; else a routing method: "arrow", "arrow:temperature=2". */
  readonly method: string;
  /** Experts of each token; the method's own number when absent. */
  readonly topK?: number | undefined;
  /** What routing scores are divided by. */
  readonly routingTemperature?: number | undefined;
  /** Experts that may not serve. */
  readonly off: readonly string[];
  readonly pins: readonly Pin[];
  /** Of the model's choice of tokens; 0 takes the likeliest. */
  readonly temperature: number;
  readonly seed: number;
  readonly maxTokens: number;
  /** Through the model's chat template. */
  readonly chat: boolean;
}

export const STANDARD: Settings = { method: "", off: [], pins: [], temperature: 0, seed: 1, maxTokens: 64, chat: false };

/** Which experts served one token: [modules][k], best first. */
export interface TokenRoute {
  readonly experts: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
}

export interface Token extends TokenRoute {
  readonly id: number;
  /** The token by itself, with its space. */
  readonly text: string;
  /** Natural logarithm of its probability. */
  readonly logprob?: number | undefined;
  readonly top: readonly ScoredToken[];
  /** It was given, not generated. */
  readonly isForced: boolean;
}

/** Milliseconds. */
export interface Timing {
  readonly first: number;
  readonly total: number;
  /** Tokens that were generated in that time. */
  readonly tokens: number;
}

export interface Run {
  readonly prompt: string;
  readonly settings: Settings;
  /** Names, in the order of the indices in routes. */
  readonly experts: readonly string[];
  /** Of the answer's routes. */
  readonly modules: readonly string[];
  readonly tokens: readonly Token[];
  readonly promptModules: readonly string[];
  readonly promptRoutes: readonly TokenRoute[];
  readonly promptTokens: number;
  readonly status: "running" | "done" | "stopped" | "failed";
  readonly reason?: "stop" | "length" | undefined;
  readonly timing?: Timing | undefined;
}

export function emptyRun(prompt: string, settings: Settings): Run {
  const nothing = { experts: [], modules: [], tokens: [], promptModules: [], promptRoutes: [], promptTokens: 0 };
  return { prompt, settings, ...nothing, status: "running" };
}

/** Weight of each expert over all modules of a token, as shares; empty where nothing is routed. */
export function shares({ experts, weights }: TokenRoute): ReadonlyMap<number, number> {
  const totals = new Map<number, number>();
  let sum = 0;
  for (const [m, chosen] of experts.entries()) {
    for (const [j, expert] of chosen.entries()) {
      const weight = weights[m]![j]!;
      if (weight <= 0) continue;
      totals.set(expert, (totals.get(expert) ?? 0) + weight);
      sum += weight;
    }
  }
  return new Map([...totals].map(([expert, total]) => [expert, total / sum] as const).sort((a, b) => b[1] - a[1]));
}

/** The expert with the most weight, and its share. */
export function mainOf(route: TokenRoute): { readonly expert: number; readonly share: number } | undefined {
  const [first] = shares(route);
  return first && { expert: first[0], share: first[1] };
}

/** Share of each expert in all tokens and modules of a run. */
export function loadOf(routes: readonly TokenRoute[], experts: number, module?: number): number[] {
  const totals = Array.from({ length: experts }, () => 0);
  for (const route of routes) {
    for (const [m, chosen] of route.experts.entries()) {
      if (module !== undefined && m !== module) continue;
      for (const [j, expert] of chosen.entries()) totals[expert]! += route.weights[m]![j]!;
    }
  }
  const sum = totals.reduce((a, b) => a + b, 0) || 1;
  return totals.map((total) => total / sum);
}

/** Entropy of shares, from 0 (one) to 1 (all alike). */
export function evenness(values: readonly number[]): number {
  if (values.length < 2) return 0;
  return -values.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(values.length);
}

/** Above this share of one expert, or below this evenness, routing has collapsed. */
const COLLAPSED = { share: 0.7, evenness: 0.35 };

/** Whether routing has collapsed onto few experts. Two experts, or a few tokens, say nothing. */
export function hasCollapsed(load: readonly number[], tokens: number): boolean {
  return load.length >= 3 && tokens >= 4 && (Math.max(...load) > COLLAPSED.share || evenness(load) < COLLAPSED.evenness);
}

export function answerText({ tokens }: Run): string {
  return tokens.map(({ text }) => text).join("");
}

/** A token in visible form. */
export function visible(text: string): string {
  return text.replaceAll("\n", "⏎") || "∅";
}
