/** @file Sessions: a graph loaded in ONNX Runtime. The only place that imports the engine. */

import * as path from "node:path";
import * as ort from "onnxruntime-node";
import { invariant } from "../base/errors.ts";
import type { HostArrays, HostDType, HostTensor } from "../base/tensor.ts";
import type { Graph } from "../graph/graph.ts";
import { serialize } from "../graph/onnx/serialize.ts";
import type { DType } from "../graph/value.ts";

export type Feeds = Readonly<Record<string, HostTensor>>;
export type Fetches = Readonly<Record<string, HostTensor>>;

export interface SessionOptions {
  /** Threads for one operator; when absent what the environment variable SKEIN_THREADS says, else all cores. */
  readonly threads?: number;
  /** Lay constant weights out anew for faster products; costs a second copy of them. Default true. */
  readonly prepack?: boolean;
  /** Write ONNX Runtime's profile to files that start with this prefix. */
  readonly profile?: string;
}

/** A graph ready to run. Owns native memory: `using` or `dispose` it. */
export class Session {
  readonly #session: ort.InferenceSession;
  readonly #inputs: ReadonlySet<string>;
  readonly #dtypes: ReadonlyMap<string, DType>;
  readonly outputs: readonly string[];

  private constructor(session: ort.InferenceSession, graph: Graph, inputs: ReadonlySet<string>) {
    this.#session = session;
    this.#inputs = inputs;
    this.#dtypes = new Map([...graph.inputs].map(([name, { dtype }]) => [name, dtype]));
    this.outputs = [...graph.outputs.keys()];
  }

  static async load(graph: Graph, { threads = threadsAsked(), prepack = true, profile }: SessionOptions = {}): Promise<Session> {
    const folder = commonFolder(graph);
    const { bytes, inputs } = serialize(graph, (file) => path.relative(folder, file));
    const options: ort.InferenceSession.SessionOptions = {
      logSeverityLevel: 3,
      graphOptimizationLevel: "all",
      extra: { session: { model_external_initializers_file_folder_path: folder, ...(prepack ? {} : { disable_prepacking: "1" }) } },
      ...(threads ? { intraOpNumThreads: threads } : {}),
      ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
    };
    return new Session(await ort.InferenceSession.create(bytes, options), graph, inputs);
  }

  get inputs(): ReadonlySet<string> {
    return this.#inputs;
  }

  /** Runs the graph. Feeds the graph does not use are left out; a missing one is an error that names it. */
  async run(feeds: Feeds, fetches: readonly string[] = this.outputs): Promise<Fetches> {
    const tensors: Record<string, ort.Tensor> = {};
    for (const name of this.#inputs) {
      const feed = feeds[name];
      const dtype = this.#dtypes.get(name);
      // Messages are written only when wanted: there are hundreds of feeds, many times a second.
      if (!feed) invariant(false, `feed ${name} is missing; given: ${Object.keys(feeds).join(", ")}`);
      if (feed.dtype !== dtype) invariant(false, `feed ${name} is ${feed.dtype}[${feed.shape}], not ${dtype}`);
      tensors[name] = engineTensor(feed);
    }
    const results = await this.#session.run(tensors, fetches as string[]);
    return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, hostTensor(tensor)]));
  }

  /** Stops profiling and writes the file asked for with `profile`. */
  endProfiling(): void {
    this.#session.endProfiling();
  }

  async dispose(): Promise<void> {
    await this.#session.release();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

// Hundreds of expert weights are fed again at every decoded token: wrapping each once is a tenth of a small model's step.
const wrapped = new WeakMap<HostTensor, ort.Tensor>();

/** The engine's view of a host tensor's numbers; nothing is copied. */
function engineTensor(feed: HostTensor): ort.Tensor {
  const known = wrapped.get(feed);
  if (known) return known;
  const tensor = new ort.Tensor(feed.dtype as "float32", feed.data as Float32Array, feed.shape);
  wrapped.set(feed, tensor);
  return tensor;
}

/** Several processes on one machine are faster with a thread each than with all threads waiting on each other. */
function threadsAsked(): number {
  return Number(process.env.SKEIN_THREADS ?? 0) || 0;
}

function hostTensor(tensor: ort.Tensor): HostTensor {
  return { dtype: tensor.type as HostDType, shape: tensor.dims, data: tensor.data as HostArrays[HostDType] };
}

/** The deepest folder that holds every file the graph refers to. ONNX Runtime reads external data from one folder. */
function commonFolder(graph: Graph): string {
  const files = [...graph.initializers.values()].flatMap((initializer) => (initializer.kind === "file" ? [initializer.region.file] : []));
  const folders = [...new Set(files.map((file) => path.dirname(path.resolve(file))))];
  return folders.reduce((a, b) => {
    let common = a;
    while (!`${b}/`.startsWith(common === "/" ? "/" : `${common}/`)) common = path.dirname(common);
    return common;
  }, folders[0] ?? process.cwd());
}
