/** @file Records which experts served which token, step by step during generation. */

import { elements, float32, int64 } from "../base/tensor.ts";
import type { HostRoute } from "../inference/runner.ts";
import { routedModules, routeNames } from "../routing/route-names.ts";
import type { Fetches } from "../runtime/session.ts";

/** Module -> route of consecutive tokens of one row: experts int64 and weights float32, [1, tokens, k]. */
export type Routes = ReadonlyMap<string, HostRoute>;

/** The routes of each row from the fetches of a run: the last counts[row] tokens, or the first with `from` "start". If
 *  experts cover the head of a model, it is routed only at the last token of a run. */
export function routesOfRows(fetches: Fetches, counts: readonly number[], from: "start" | "end"): Routes[] {
  const modules = routedModules(Object.keys(fetches));
  return counts.map(
    (count, row) =>
      new Map(
        modules.map((module) => {
          const names = routeNames(module);
          const [experts, weights] = [fetches[names.experts], fetches[names.weights]] as [HostRoute["experts"], HostRoute["weights"]];
          const [, tokens = 0, k = 0] = experts.shape;
          const shape = [1, Math.min(count, tokens), k];
          const start = (row * tokens + (from === "start" ? 0 : tokens - shape[1]!)) * k;
          return [
            module,
            {
              experts: int64(shape, experts.data.slice(start, start + elements(shape))),
              weights: float32(shape, weights.data.slice(start, start + elements(shape))),
            },
          ];
        }),
      ),
  );
}

/** Joins the routes of consecutive pieces. */
export function joinedRoutes(pieces: readonly Routes[]): Routes {
  const modules = new Set(pieces.flatMap((piece) => [...piece.keys()]));
  return new Map(
    [...modules].map((module) => {
      const parts = pieces.flatMap((piece) => piece.get(module) ?? []);
      const tokens = parts.reduce((sum, { experts }) => sum + experts.shape[1]!, 0);
      const k = parts[0]?.experts.shape[2] ?? 0;
      const joined = { experts: int64([1, tokens, k]), weights: float32([1, tokens, k]) };
      let at = 0;
      for (const { experts, weights } of parts) {
        joined.experts.data.set(experts.data, at);
        joined.weights.data.set(weights.data, at);
        at += experts.data.length;
      }
      return [module, joined];
    }),
  );
}

/** The routes of the last `count` tokens. */
export function lastRoutes(routes: Routes, count: number): Routes {
  return new Map(
    [...routes].map(([module, { experts, weights }]) => {
      const [, tokens = 0, k = 0] = experts.shape;
      const start = Math.max(0, tokens - count) * k;
      const shape = [1, Math.min(tokens, count), k];
      return [module, { experts: int64(shape, experts.data.slice(start)), weights: float32(shape, weights.data.slice(start)) }];
    }),
  );
}

/** The routes of the first `count` of the tokens, without the modules that route only the last token of a run. */
export function firstRoutes(routes: Routes, count: number, tokens: number): Routes {
  const whole = [...routes].filter(([, { experts }]) => experts.shape[1] === tokens);
  return new Map(
    whole.map(([module, { experts, weights }]) => {
      const [, , k = 0] = experts.shape;
      const shape = [1, count, k];
      return [
        module,
        { experts: int64(shape, experts.data.slice(0, count * k)), weights: float32(shape, weights.data.slice(0, count * k)) },
      ];
    }),
  );
}
