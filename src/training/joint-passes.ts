/** @file Passes of several experts at once: every expert hands in its micro-batch, and one run computes all of them. The frozen base is
 *  read once for all, forward and backward.
 *
 *  Each expert keeps its own loop (loop.ts) with its own data, rate, optimizer and run. A run starts when every expert that trains has
 *  handed in a micro-batch. An expert that has ended or failed leaves, and the others go on without it. Validations run first, so that
 *  the experts then take their steps together again. */

import { type HostTensor, int64 } from "../base/tensor.ts";
import { div } from "../graph/ops/elementwise.ts";
import { reshape } from "../graph/ops/movement.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Architecture } from "../models/architecture.ts";
import { logitsOf } from "../models/logits.ts";
import type { Tensor } from "../runtime/engine.ts";
import type { Feeds, Fetches } from "../runtime/session.ts";
import type { TrainingBatch } from "./batches.ts";
import type { SeededDropout } from "./dropout.ts";
import { JOINT_ROWS, type JointLearner } from "./joint-learner.ts";
import { DeviceJointTensors, HostJointTensors, type JointTensors } from "./joint-tensors.ts";
import { IGNORED, labelsOf, tokenLosses } from "./loss.ts";
import { type Gradients, openSessions, type Passes, type PassOptions, type PassSessions, rowSeeds, type Score } from "./passes.ts";

/** One expert's micro-batch, and where its result goes. */
interface Request {
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly batch: TrainingBatch;
  /** Of the dropout; undefined for a validation. */
  readonly seed?: readonly number[];
  readonly resolve: (result: Gradients & Score) => void;
  readonly reject: (error: unknown) => void;
}
interface Member {
  readonly frozen: Feeds;
  waiting: Request | undefined;
}
type Handed = Member & { readonly waiting: Request };

export class JointPasses {
  readonly #architecture: Architecture;
  readonly #sessions: PassSessions;
  readonly #tensors: JointTensors;
  readonly #members = new Set<Member>();
  #isRunning = false;

  private constructor(architecture: Architecture, sessions: PassSessions, tensors: JointTensors) {
    this.#architecture = architecture;
    this.#sessions = sessions;
    this.#tensors = tensors;
  }

  static async open(architecture: Architecture, learner: JointLearner, options: PassOptions): Promise<JointPasses> {
    const sessions = await openSessions(architecture, learner, options, {
      name: "joint ",
      loss: (graph, dropout) => lossOf(graph, architecture, learner, options, dropout),
      parameters: (graph) => [...learner.shapes].map(([name, shape]) => graph.float(name, "experts", ...shape)),
      keeps: true,
    });
    const { engine } = sessions;
    const keeps = engine.capabilities.deviceTensors;
    const tensors = keeps ? new DeviceJointTensors(engine, learner.shapes) : new HostJointTensors(learner.shapes);
    return new JointPasses(architecture, sessions, tensors);
  }

  /** The passes of one more expert. `frozen`: its own feeds that do not learn. Disposing them takes the expert out of the batches. */
  join(frozen: Feeds = {}): Passes {
    const member: Member = { frozen, waiting: undefined };
    this.#members.add(member);
    const ask = (parameters: ReadonlyMap<string, Tensor>, batch: TrainingBatch, seed?: readonly number[]) =>
      new Promise<Gradients & Score>((resolve, reject) => {
        member.waiting = { parameters, batch, resolve, reject, ...(seed && { seed }) };
        void this.#meet();
      });
    const { engine } = this.#sessions;
    return {
      keeps: engine.capabilities.deviceTensors ? engine : undefined,
      gradients: ask,
      score: (parameters, batch) => ask(parameters, batch),
      dispose: async () => {
        this.#members.delete(member);
        void this.#meet();
      },
    };
  }

  /** Runs the micro-batches once every expert has handed one in. */
  async #meet(): Promise<void> {
    const members = [...this.#members].filter((member): member is Handed => member.waiting !== undefined);
    if (this.#isRunning || members.length === 0 || members.length < this.#members.size) return;
    this.#isRunning = true;
    const validating = members.filter(({ waiting }) => waiting.seed === undefined);
    for (const group of this.#together(validating.length > 0 ? validating : members)) {
      const requests = group.map(({ waiting }) => waiting);
      try {
        const results = await this.#run(group);
        requests.forEach(({ resolve }, i) => {
          resolve(results[i]!);
        });
      } catch (error) {
        for (const { reject } of requests) reject(error);
      }
      for (const member of group as Member[]) member.waiting = undefined;
    }
    this.#isRunning = false;
    void this.#meet();
  }

  /** Splits the experts into those whose micro-batches fit into one run: a longer neighbor must not change a row's rotary frequencies. */
  #together(members: readonly Handed[]): Handed[][] {
    const steadyUntil = this.#architecture.kind === "decoder-only" ? this.#architecture.steadyUntil : undefined;
    const groups = new Map<number, Handed[]>();
    for (const member of members) {
      const range = steadyUntil?.(member.waiting.batch.sizes.sequence!) ?? 0;
      groups.set(range, [...(groups.get(range) ?? []), member]);
    }
    return [...groups.values()];
  }

  async #run(members: readonly Handed[]): Promise<(Gradients & Score)[]> {
    const requests = members.map(({ waiting }) => waiting);
    const { feeds, sizes } = joined(requests.map(({ batch }) => batch));
    const isTraining = requests[0]!.seed !== undefined;
    const seeds = requests.flatMap(({ seed }) => (seed ? rowSeeds(sizes.rows, seed) : []));
    const noise = isTraining ? this.#sessions.dropout?.noise(sizes, seeds) : undefined;
    const frozen = await this.#tensors.frozen(members.map((member) => member.frozen));
    const session = isTraining ? this.#sessions.training : await this.#sessions.scoring();
    const parameters = await this.#tensors.parameters(requests.map((request) => request.parameters));
    try {
      const results = await session.runKeeping({ ...frozen, ...parameters.feeds, ...feeds, ...noise });
      const gradients = isTraining ? await this.#tensors.gradients(results, requests.length) : [];
      return requests.map((_, expert) => ({ ...scoreOf(results.fetched, expert), gradients: gradients[expert] ?? new Map() }));
    } finally {
      parameters.release();
    }
  }

  async dispose(): Promise<void> {
    await this.#tensors.dispose();
    await this.#sessions.dispose();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** The sum of the experts' losses: its gradient in an expert's parameters is that of the expert's own loss. */
function lossOf(graph: Graph, architecture: Architecture, learner: JointLearner, { packed }: PassOptions, dropout?: SeededDropout): Float {
  graph.int("expert_rows", "experts", "rows"); // only its shape is read
  const options = { batch: JOINT_ROWS, ...(dropout ? { dropout: dropout.apply } : {}), ...(packed ? { packed } : {}) };
  const logits = logitsOf(graph, architecture, { ...learner.build(graph), ...options });
  const { perToken, real } = tokenLosses(logits, labelsOf(graph, architecture, JOINT_ROWS));
  const [, width] = perToken.shape;
  const total = (x: Float) => reduceSum(reshape(x, "experts", "rows", width!), { axes: [1, 2], keep: false });
  const tokens = total(real);
  const losses = div(total(perToken), tokens);
  graph.output("loss", losses);
  graph.output("tokens", tokens);
  return reduceSum(losses, { axes: [0], keep: false });
}

const FILLERS: Readonly<Record<string, number>> = { labels: IGNORED, document_ids: -1 };

/** The micro-batches below each other, padded to the most rows and the longest row. Added rows have nothing to learn. */
function joined(batches: readonly TrainingBatch[]): { feeds: Feeds; sizes: Readonly<Record<string, number>> & { readonly rows: number } } {
  const most = (name: string) => Math.max(...batches.map(({ sizes }) => sizes[name] ?? 0));
  const [rows, experts] = [most("batch"), batches.length];
  const feeds: Record<string, HostTensor> = { expert_rows: int64([experts, rows]) };
  for (const name of Object.keys(batches[0]!.feeds)) {
    const parts = batches.map((batch) => batch.feeds[name] as HostTensor<"int64">);
    const width = Math.max(...parts.map(({ shape }) => shape[1]!));
    const data = new BigInt64Array(experts * rows * width).fill(BigInt(FILLERS[name] ?? 0));
    parts.forEach((part, expert) => {
      const [count, own] = part.shape as [number, number];
      for (let row = 0; row < count; row++) data.set(part.data.subarray(row * own, (row + 1) * own), (expert * rows + row) * width);
    });
    feeds[name] = int64([experts * rows, width], data);
  }
  return { feeds, sizes: { experts, rows, sequence: most("sequence"), targets: most("targets") } };
}

/** One expert's part of the results. */
function scoreOf({ loss, tokens }: Fetches, expert: number): Score {
  return { loss: Number(loss!.data[expert]), tokens: Number(tokens!.data[expert]) };
}
