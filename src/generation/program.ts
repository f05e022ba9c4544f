/** @file The graphs of a decoder for one model, ready to run. */

import type { Model } from "../inference/model.ts";
import type { Lease } from "../inference/runner.ts";
import type { Feeds, Session } from "../runtime/session.ts";
import { buildDecode, buildEncode, type DecodePlan, fetchRoutes, planOf } from "./decoder-graphs.ts";

export interface Program {
  readonly plan: DecodePlan;
  readonly decode: Session;
  /** Only for models with an encoder. */
  readonly encode: Session | undefined;
  /** Fed in every run. */
  readonly feeds: Feeds;
  /** Whether each module's route is fetched. */
  readonly routes: boolean;
  /** Releases the sessions. */
  close(): void;
}

export async function openProgram({ base: { architecture }, runner, woven }: Model, routes: boolean): Promise<Program> {
  const plan = planOf(architecture);
  const leases: Lease[] = [];
  const close = () => {
    for (const { release } of leases) release();
  };
  const leased = async (...graph: Parameters<typeof runner.lease>): Promise<Session> => {
    const lease = await runner.lease(...graph);
    leases.push(lease);
    return lease.session;
  };
  try {
    const encode =
      architecture.kind === "encoder-decoder"
        ? await leased({ graph: "encode", routes }, woven, (graph, parts) =>
            buildEncode(graph, architecture, parts(routes ? fetchRoutes(graph) : undefined)),
          )
        : undefined;
    const decode = await leased({ graph: "decode", routes }, woven, (graph, parts) =>
      buildDecode(graph, architecture, parts(routes ? fetchRoutes(graph) : undefined), plan),
    );
    return { plan, decode, encode, feeds: woven.feeds, routes, close };
  } catch (error) {
    close();
    throw error;
  }
}
