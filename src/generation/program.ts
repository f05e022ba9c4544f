/** @file The graphs of a decoder for one model, ready to run. */

import type { Model } from "../inference/model.ts";
import type { Lease } from "../inference/runner.ts";
import { feedsOfRows, type Woven } from "../inference/woven.ts";
import type { Feeds, Session } from "../runtime/session.ts";
import { buildDecode, buildEncode, type DecodePlan, fetchRoutes, planOf } from "./decoder-graphs.ts";
import { graphWork, type PromptWork } from "./prompt-reading.ts";

export interface Program {
  readonly decode: Session;
  /** Only for models with an encoder. */
  readonly encode: Session | undefined;
  /** Fed in every run. */
  readonly feeds: Feeds;
  /** The feeds of rows with these choices. */
  readonly feedsOf: (choices: Feeds) => Feeds;
  /** Whether runs take the choices of rows. */
  readonly takesRows: boolean;
  /** Releases the sessions. */
  close(): void;
}

/** The programs of one decoder: that of its model, which computes rows of every kind together, and those of rows that have a cheaper one
 *  while they are among themselves. Each is opened when it is first needed. */
export class Programs {
  readonly plan: DecodePlan;
  readonly hasEncoder: boolean;
  readonly vocabularySize: number;
  /** Whether each module's route is fetched. */
  readonly routes: boolean;
  readonly #model: Model;
  readonly #programs = new Map<string, Promise<Program>>();
  readonly #open = new Set<string>();
  #isClosed = false;

  constructor(model: Model, routes: boolean) {
    const { architecture } = model.base;
    this.plan = planOf(architecture);
    this.vocabularySize = architecture.vocabularySize;
    this.hasEncoder = architecture.kind === "encoder-decoder";
    this.routes = routes;
    this.#model = model;
  }

  /** The program of rows that are all of this kind; without a kind, of any rows. `work`: what it computes from prompts. */
  of(alone: Woven | undefined, work?: PromptWork): Promise<Program> {
    const id = idOf(alone, work);
    const known = this.#programs.get(id);
    if (known) return known;
    const program = openProgram(alone ? { ...this.#model, woven: alone } : this.#model, this.routes, work && graphWork(work));
    this.#programs.set(id, program);
    program.then(
      ({ close }) => {
        this.#open.add(id);
        if (this.#isClosed) close();
      },
      () => this.#programs.delete(id), // the caller has the error
    );
    return program;
  }
  isOpen(alone: Woven | undefined): boolean {
    return this.#open.has(idOf(alone));
  }

  /** Releases the sessions. */
  close(): void {
    this.#isClosed = true;
    for (const id of this.#open) void this.#programs.get(id)!.then(({ close }) => close());
  }
}

const idOf = (alone: Woven | undefined, work?: PromptWork) => `${alone?.id ?? ""} ${work ? JSON.stringify(graphWork(work)) : ""}`;

/** The kind of rows that are all of one kind; undefined for others. */
export function kindOf(rows: readonly { readonly alone: Woven | undefined }[]): Woven | undefined {
  const first = rows[0]?.alone;
  return first && rows.every(({ alone }) => alone?.id === first.id) ? first : undefined;
}

async function openProgram({ base: { architecture }, runner, woven }: Model, routes: boolean, work?: PromptWork): Promise<Program> {
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
    const kind = { graph: "decode", routes, ...(work && { work: JSON.stringify(work) }) };
    const decode = await leased(kind, woven, (graph, parts) =>
      buildDecode(graph, architecture, parts(routes ? fetchRoutes(graph) : undefined), plan, work),
    );
    const feedsOf = (choices: Feeds) => feedsOfRows(woven, choices);
    return { decode, encode, feeds: woven.feeds, takesRows: woven.chooseRows !== undefined, feedsOf, close };
  } catch (error) {
    close();
    throw error;
  }
}
