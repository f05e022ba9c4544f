/** @file `skein/routing`: the routing methods by name, pools in memory, choices of experts by row, and the parts of a model. */

export { openBase } from "../inference/base.ts";
export { BASE_EMBEDDER, baseEmbedder, type Embedder, textEmbedder } from "../inference/embedder.ts";
export type { Prompts } from "../inference/prompts.ts";
export { RoutedPool, type RoutedPoolOptions } from "../inference/routed-pool.ts";
export { baseRows, eachRow, namedExperts, openRows, ownRows, type RowChoice } from "../inference/row-choices.ts";
export { Runner, type RunnerOptions } from "../inference/runner.ts";
export { type OnRoute, plain, singleAdapter, type Woven } from "../inference/woven.ts";
export type { MethodSetting, PoolParts, RoutingMethod } from "../methods/method.ts";
export { defaultMethod, METHODS, type MethodChoice, openMethod, parsedMethod, routerNamed } from "../methods/registry.ts";
export { retrievalRows } from "../methods/retrieval.ts";
export { BARRED, type Route, type Router } from "../routing/router.ts";
export type { Feeds } from "../runtime/engine.ts";
