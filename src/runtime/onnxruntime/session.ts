/** @file A graph that ONNX Runtime has loaded on a device. */

import { invariant } from "../../base/errors.ts";
import { isHalf } from "../../base/half.ts";
import { heldInHalf } from "../../graph/lowering/half-weights.ts";
import { lowered } from "../../graph/lowering/lowered.ts";
import { serialize } from "../../graph/onnx/serialize.ts";
import type { DType } from "../../graph/sizes.ts";
import type { Graph } from "../../graph/value.ts";
import {
  type DeviceFeeds,
  type DeviceTensor,
  type Engine,
  type Fetches,
  isOnDevice,
  type LoadOptions,
  type Results,
  type Session,
} from "../engine.ts";
import { filesFolder } from "../external-files.ts";
import { failureOf, missingDevice } from "../failures.ts";
import { deviceTensor, heldBy } from "./device-tensors.ts";
import { fedDtype, hostTensor, inFloat32, wrapped } from "./host-tensors.ts";
import { type Library, library, type Ort } from "./library.ts";

/** What ONNX Runtime writes to stderr. */
export const [ERRORS, SILENT] = [3, 4] as const;

export class OrtSession implements Session {
  readonly #engine: Engine;
  readonly #ort: Library;
  readonly #session: Ort.InferenceSession;
  readonly #dtypes: ReadonlyMap<string, DType>;
  readonly #kept: readonly string[];
  /** Outputs on the device that are not disposed of. */
  #outputs = 0;
  #isDisposed = false;
  readonly inputs: ReadonlySet<string>;
  readonly outputs: readonly string[];

  private constructor(
    parts: { engine: Engine; ort: Library; session: Ort.InferenceSession; graph: Graph; inputs: ReadonlySet<string> },
    kept: readonly string[],
  ) {
    this.#engine = parts.engine;
    this.#ort = parts.ort;
    this.#session = parts.session;
    this.#dtypes = new Map([...parts.graph.inputs].map(([name, { dtype }]) => [name, fedDtype(dtype)]));
    this.#kept = kept;
    this.inputs = parts.inputs;
    this.outputs = [...parts.graph.outputs.keys()];
  }

  static async load(
    engine: Engine,
    graph: Graph,
    options: LoadOptions = {},
    severity: typeof ERRORS | typeof SILENT = ERRORS,
  ): Promise<OrtSession> {
    const { keep = [], mixture, half = false } = options;
    for (const name of keep)
      invariant(graph.outputs.has(name), `output ${name} is to stay on the device, but graph ${graph.name} has no such output`);
    const ort = await library();
    const { folder, locate } = filesFolder(graph);
    const held = half ? heldInHalf(graph, { transposes: "FusedMatMul" in engine.capabilities.lacks }) : graph;
    const own = lowered(held, engine.capabilities, { mixture });
    const { bytes, inputs } = serialize(own, locate);
    const session = await opened(engine, () => ort.InferenceSession.create(bytes, sessionOptions(engine, folder, options, severity)));
    return new OrtSession({ engine, ort, session, graph: own, inputs }, keep);
  }

  async run(feeds: DeviceFeeds, fetches: readonly string[] = this.#fetchable()): Promise<Fetches> {
    const { fetched, kept } = await this.runKeeping(feeds, fetches);
    for (const tensor of Object.values(kept)) tensor.dispose();
    return fetched;
  }

  async runKeeping(feeds: DeviceFeeds, fetches: readonly string[] = this.#fetchable()): Promise<Results> {
    for (const name of fetches) if (this.#kept.includes(name)) invariant(false, `output ${name} stays on the device; it is not fetched`);
    // In 1.30.0, a session that keeps outputs must return all of them; otherwise it fails with "Output count mismatch".
    const results = await this.#results(feeds, this.#kept.length === 0 ? fetches : this.outputs);
    return {
      fetched: Object.fromEntries(fetches.map((name) => [name, hostTensor(results[name]!)])),
      kept: Object.fromEntries(this.#kept.map((name) => [name, this.#output(results[name]!)])),
    };
  }

  #output(tensor: Ort.Tensor): DeviceTensor {
    this.#outputs++;
    return deviceTensor(this.#engine, tensor, () => {
      this.#outputs--;
      if (this.#isDisposed && this.#outputs === 0) void this.#session.release();
    });
  }

  async #results(feeds: DeviceFeeds, names: readonly string[]): Promise<Ort.InferenceSession.ReturnType> {
    const tensors: Record<string, Ort.Tensor> = {};
    for (const name of this.inputs) {
      const given = feeds[name];
      const dtype = this.#dtypes.get(name);
      const feed = given && !isOnDevice(given) && isHalf(given) && dtype === "float32" ? inFloat32(given) : given;
      // The message is built only on failure: there are hundreds of feeds, many times a second.
      if (!feed) invariant(false, `feed ${name} is missing; given: ${Object.keys(feeds).join(", ")}`);
      if (feed.dtype !== dtype) invariant(false, `feed ${name} is ${feed.dtype}[${feed.shape}], not ${dtype}`);
      tensors[name] = isOnDevice(feed) ? heldBy(this.#engine, feed, name) : wrapped(this.#ort, feed);
    }
    try {
      return await this.#session.run(tensors, names as string[]);
    } catch (cause) {
      throw failureOf(this.#engine, cause) ?? cause;
    }
  }

  #fetchable(): readonly string[] {
    return this.#kept.length === 0 ? this.outputs : this.outputs.filter((name) => !this.#kept.includes(name));
  }

  endProfiling(): void {
    this.#session.endProfiling();
  }

  // In 1.30.0 the memory of an output is freed through parts of its session, and the process ends where the session was released before. So the
  // session goes with the last of its outputs.
  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    if (this.#outputs === 0) await this.#session.release();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

function sessionOptions(
  { device, capabilities }: Engine,
  folder: string,
  { threads = threadsAsked(), prepack = true, profile, keep = [] }: LoadOptions,
  severity: typeof ERRORS | typeof SILENT,
): Ort.InferenceSession.SessionOptions {
  return {
    logSeverityLevel: severity,
    graphOptimizationLevel: "all",
    extra: { session: { model_external_initializers_file_folder_path: folder, ...(prepack ? {} : { disable_prepacking: "1" }) } },
    ...(device === "cpu" ? {} : { executionProviders: [device] }),
    ...(threads ? { intraOpNumThreads: threads } : {}),
    ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
    ...(capabilities.deviceTensors && keep.length > 0
      ? { preferredOutputLocation: Object.fromEntries(keep.map((name) => [name, "gpu-buffer" as const])) }
      : {}),
  };
}

/** The number of threads. Several processes on one machine are faster with one thread each than with all cores each. */
function threadsAsked(): number {
  return Number(process.env.SKEIN_THREADS ?? 0) || 0;
}

/** Creates a session. A failure becomes an error that says what the device lacks, or that it is missing. */
async function opened(engine: Engine, create: () => Promise<Ort.InferenceSession>): Promise<Ort.InferenceSession> {
  try {
    return await create();
  } catch (cause) {
    throw failureOf(engine, cause) ?? missingDevice(engine, cause) ?? cause;
  }
}
