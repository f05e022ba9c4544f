/** @file Counters for Prometheus. Labels are bounded: models that nobody serves count as "other". */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Backend } from "../backend.ts";

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export class Metrics {
  readonly registry = new Registry();
  readonly #known = new Set<string>();
  readonly #requests: Counter<"route" | "status">;
  readonly #duration: Histogram<"model">;
  readonly #first: Histogram<"model">;
  readonly #between: Histogram<"model">;
  readonly #prompt: Counter<"model">;
  readonly #generated: Counter<"model">;
  readonly #finished: Counter<"model" | "reason">;

  constructor(backend: Backend, running: () => number) {
    const registers = [this.registry];
    const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new Counter({ name: `skein_${name}`, help, labelNames, registers });
    const histogram = (name: string, help: string) =>
      new Histogram({ name: `skein_${name}`, help, labelNames: ["model"] as const, buckets: SECONDS, registers });
    collectDefaultMetrics({ register: this.registry, prefix: "skein_" });
    this.#requests = counter("http_requests_total", "Answers by route and status.", "route", "status");
    this.#duration = histogram("request_duration_seconds", "From a request to the end of a completion.");
    this.#first = histogram("time_to_first_token_seconds", "From a request to its first token.");
    this.#between = histogram("time_per_output_token_seconds", "Between two tokens of a request.");
    this.#prompt = counter("prompt_tokens_total", "Tokens of prompts.", "model");
    this.#generated = counter("generation_tokens_total", "Tokens generated.", "model");
    this.#finished = counter("completions_total", "Completions by what ended them.", "model", "reason");
    const gauge = (name: string, help: string, value: () => number | Promise<number>) =>
      new Gauge({
        name: `skein_${name}`,
        help,
        registers,
        async collect() {
          this.set(await value());
        },
      });
    let stats = backend.stats();
    let at = 0;
    const stat = async (name: keyof Awaited<typeof stats>) => {
      if (Date.now() - at > 500) {
        at = Date.now();
        stats = backend.stats();
      }
      return stats.then(
        (values) => values[name],
        () => 0,
      );
    };
    stats.catch(() => {});
    gauge("requests_in_flight", "Completions that run or wait.", running);
    gauge("engine_up", "1 when the engine answers.", () => (backend.isReady ? 1 : 0));
    gauge("sequences_running", "Sequences in the batch.", () => stat("running"));
    gauge("sequences_waiting", "Sequences that wait for a place.", () => stat("waiting"));
    gauge("cache_bytes", "Bytes of keys and values of running sequences.", () => stat("cacheBytes"));
    gauge("kept_bytes", "Bytes of keys and values kept of sequences that ended.", () => stat("keptBytes"));
    gauge("engine_steps", "Decoding steps since the engine started.", () => stat("steps"));
    gauge("preemptions", "Sequences that had to make room, since the engine started.", () => stat("preemptions"));
    gauge("sessions", "Graphs that are loaded.", () => stat("sessions"));
    gauge("engine_resident_bytes", "Memory of the process that the engine runs in.", () => stat("residentBytes"));
    gauge("experts", "Experts that are served.", () => stat("experts"));
  }

  /** Names that may be labels. */
  know(models: readonly string[]): void {
    for (const model of models) if (this.#known.size < 1000) this.#known.add(model);
  }
  #label(model: string): { model: string } {
    return { model: this.#known.has(model) ? model : "other" };
  }

  answered(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }
  accepted(model: string, promptTokens: number): void {
    this.#prompt.inc(this.#label(model), promptTokens);
  }
  token(model: string, isFirst: boolean, seconds: number): void {
    const label = this.#label(model);
    this.#generated.inc(label);
    (isFirst ? this.#first : this.#between).observe(label, seconds);
  }
  finished(model: string, reason: string, seconds: number): void {
    this.#finished.inc({ ...this.#label(model), reason });
    this.#duration.observe(this.#label(model), seconds);
  }
}
