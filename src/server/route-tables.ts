/** @file Routes as requests get them: for each token, each module's experts and weights. */

import type { Routes } from "../generation/routes.ts";
import type { RouteTable, TokenRoute } from "./backend.ts";

/** The routes of the tokens from `start` to `end`, of the modules that routed so many. Weights keep six digits. */
export function routeTable(routes: Routes, start: number, end: number, isOf: (module: string) => boolean = () => true): RouteTable {
  const rows = [...routes].filter(([module, { experts }]) => isOf(module) && experts.shape[1]! >= end);
  const tokenAt = (token: number): TokenRoute => {
    const cut = <T>({ shape, data }: { readonly shape: readonly number[]; readonly data: ArrayLike<T> }): T[] => {
      const k = shape[2]!;
      return Array.from({ length: k }, (_, i) => data[token * k + i]!);
    };
    return {
      experts: rows.map(([, { experts }]) => cut<bigint>(experts).map(Number)),
      weights: rows.map(([, { weights }]) => cut<number>(weights).map((weight) => Math.round(weight * 1e6) / 1e6)),
    };
  };
  return { modules: rows.map(([module]) => module), tokens: Array.from({ length: end - start }, (_, i) => tokenAt(start + i)) };
}
