/** @file ONNX Runtime in Node, one engine for each device. Only this file imports the package `onnxruntime-node`, and only when the first
 *  graph is loaded. Commands and programs that compute nothing work without the native library. */

import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as Ort from "onnxruntime-node";
import { EngineError, invariant, messageOf } from "../base/errors.ts";
import { type HalfTensor, isHalf, widened } from "../base/half.ts";
import type { HostArrays, HostDType, HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import type { Capabilities } from "../graph/lowering/capabilities.ts";
import { heldInHalf } from "../graph/lowering/half-weights.ts";
import { lowered } from "../graph/lowering/lowered.ts";
import { serialize } from "../graph/onnx/serialize.ts";
import type { DType } from "../graph/sizes.ts";
import type { Graph } from "../graph/value.ts";
import {
  type Device,
  type DeviceFeeds,
  type DeviceTensor,
  type Engine,
  type Fetches,
  isOnDevice,
  type LoadOptions,
  type Results,
  type Session,
} from "./engine.ts";
import { filesFolder } from "./external-files.ts";
import { failureOf, missingDevice } from "./failures.ts";
import { computesFloat16 } from "./float16.ts";

type Library = typeof Ort;

const COMPOSED = "no engine has it as one operator";

/** ONNX Runtime on the CPU. It has every operator except Skein's own, which are lowered. */
export const cpu: Engine = onnxRuntime("cpu", {
  lacks: { Int8MatMul: COMPOSED, Mixture: COMPOSED },
  integerProducts: true,
  mixture: "sorted",
  float16: true,
  deviceTensors: false,
});

/** Devices that builds of ONNX Runtime other than the package's may have. The library computes on the CPU what such a device lacks. */
export const OTHERS: readonly Engine[] = (["cuda", "coreml", "dml"] as const).map((device) => onnxRuntime(device, cpu.capabilities));

const CPU_ONLY = "it runs on the CPU: its operands leave the device and come back";

/** ONNX Runtime on a GPU through WebGPU (Vulkan, Metal or Direct3D 12). */
export const webgpu: Engine = onnxRuntime("webgpu", {
  lacks: {
    Int8MatMul: COMPOSED,
    Mixture: COMPOSED,
    FusedMatMul: CPU_ONLY,
    LogSoftmax: CPU_ONLY,
    Sign: CPU_ONLY,
    Or: CPU_ONLY,
    ScatterND: CPU_ONLY,
    "SimplifiedLayerNormalization, second result": "it is wrong in onnxruntime-node 1.30.0",
    Sin: "it is right to 1e-4 only",
    Cos: "it is right to 1e-4 only",
  },
  integerProducts: false,
  mixture: "masked",
  float16: false, // not every GPU has them: hasFloat16 says which
  deviceTensors: true,
});

function onnxRuntime(device: Device, capabilities: Capabilities): Engine {
  let float16: Promise<boolean> | undefined;
  const engine: Engine = {
    name: device,
    device,
    capabilities,
    load: (graph, options) => OrtSession.load(engine, graph, options),
    hasFloat16: () => {
      float16 ??= computesFloat16((graph) => OrtSession.load(engine, graph, {}, SILENT));
      return float16;
    },
    async upload(tensor) {
      const fed = isHalf(tensor) && !capabilities.float16 ? widened(tensor) : tensor;
      const copy = await copySession(engine, fed, { keep: ["y"] });
      return (await copy.runKeeping({ x: fed })).kept.y!;
    },
    held: () => {
      const own = [...live].filter((tensor) => tensor.engine === engine);
      return { tensors: own.length, bytes: own.reduce((sum, { bytes }) => sum + bytes, 0) };
    },
  };
  return engine;
}

/** What ONNX Runtime writes to stderr. */
const [ERRORS, SILENT] = [3, 4] as const;

class OrtSession implements Session {
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
    this.#dtypes = new Map([...parts.graph.inputs].map(([name, { dtype }]) => [name, dtype === BITS ? "bfloat16" : dtype]));
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

// Each decoded token feeds hundreds of expert tensors again. Wrapping each of them only once saves a tenth of a small model's step.
const wrappers = new WeakMap<HostTensor, Ort.Tensor>();

/** The engine's view of a host tensor's numbers; nothing is copied. */
function wrapped(ort: Library, feed: HostTensor): Ort.Tensor {
  const known = wrappers.get(feed);
  if (known) return known;
  const tensor = new ort.Tensor((feed.dtype === "bfloat16" ? BITS : feed.dtype) as "float32", feed.data as Float32Array, feed.shape);
  wrappers.set(feed, tensor);
  return tensor;
}

const wide = new WeakMap<HostTensor, HostTensor>();

/** A tensor in 16 bits widened, once while it is in use. */
function inFloat32(tensor: HalfTensor): HostTensor {
  const known = wide.get(tensor) ?? widened(tensor);
  wide.set(tensor, known);
  return known;
}

/** The library's JavaScript has no bfloat16: its bits are fed as these (graph/lowering/half-feeds.ts), which nothing else is. */
const BITS = "uint16";

function ownDtype(dtype: string): HostDType {
  return (dtype === BITS ? "bfloat16" : dtype) as HostDType;
}

function hostTensor(tensor: Ort.Tensor): HostTensor {
  if (tensor.type === "float16") {
    const { buffer, byteOffset, length } = tensor.data as Uint16Array; // newer versions of Node have an array of its own for it
    return { dtype: tensor.type, shape: tensor.dims, data: new Uint16Array(buffer, byteOffset, length) };
  }
  return { dtype: ownDtype(tensor.type), shape: tensor.dims, data: tensor.data as HostArrays[HostDType] };
}

interface Native {
  readonly engine: Engine;
  readonly tensor: Ort.Tensor;
  readonly bytes: number;
}
/** The engine and native tensor of each device tensor. */
const held = new WeakMap<DeviceTensor, Native>();
/** Those that are not disposed of. */
const live = new Set<Native>();

function deviceTensor(engine: Engine, tensor: Ort.Tensor, whenDisposed: () => void): DeviceTensor {
  const native: Native = { engine, tensor, bytes: tensor.size * BYTES[ownDtype(tensor.type)] };
  const dispose = () => {
    held.delete(self);
    if (!live.delete(native)) return;
    tensor.dispose();
    whenDisposed();
  };
  const self: DeviceTensor = {
    location: "device",
    dtype: ownDtype(tensor.type),
    shape: tensor.dims,
    // In 1.30.0 the library's getData() aborts the process on a device tensor. A graph that copies its input to the host works.
    read: async () => (await (await copySession(engine, self, {})).run({ x: self })).y!,
    dispose,
    [Symbol.dispose]: dispose,
  };
  held.set(self, native);
  live.add(native);
  return self;
}

const BYTES: Readonly<Record<HostDType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
  int64: 8,
  int32: 4,
  int8: 1,
  uint8: 1,
  bool: 1,
};

function heldBy(engine: Engine, feed: DeviceTensor, name: string): Ort.Tensor {
  const found = held.get(feed);
  if (!found) invariant(false, `feed ${name} was disposed of`);
  if (found.engine !== engine) invariant(false, `feed ${name} lives on the engine ${found.engine.name}, not on ${engine.name}`);
  return found.tensor;
}

const copySessions = new Map<string, Promise<Session>>();

/** y = x, for tensors of this dtype and rank. These sessions are few and small, and stay until the process ends. */
function copySession(engine: Engine, { dtype, shape }: DeviceTensor | HostTensor, options: LoadOptions): Promise<Session> {
  const key = `${engine.name} ${dtype} ${shape.length} ${options.keep ?? ""}`;
  let session = copySessions.get(key);
  if (!session) {
    const graph = createGraph("copy");
    graph.output(
      "y",
      graph.input(
        "x",
        dtype as DType,
        shape.map((_, axis) => `size${axis}`),
      ),
    );
    session = engine.load(graph, options);
    session.catch(() => copySessions.delete(key));
    copySessions.set(key, session);
  }
  return session;
}

let known: Promise<Library> | undefined;

/** The native library, loaded once a process. A failure is not remembered. */
function library(): Promise<Library> {
  known ??= openLibrary(() => import("onnxruntime-node")).catch((error: unknown) => {
    known = undefined;
    throw error;
  });
  return known;
}

/** Why this installation of ONNX Runtime has no such device; undefined if it has it. Whether the machine has one too, only a session tells. */
export async function notInstalled(device: Device): Promise<string | undefined> {
  const found = (await library()).listSupportedBackends().find(({ name }) => name === device);
  if (!found) return `this build of ONNX Runtime has no ${device}`;
  const name = `onnxruntime_providers_${device}`;
  const files = join(dirname(createRequire(import.meta.url).resolve("onnxruntime-node")), "..", "bin");
  if (found.bundled || (await readdir(files, { recursive: true })).some((file) => file.includes(name))) return undefined;
  return `the package onnxruntime-node comes without ${name}; its install script downloads it`;
}

/** Loads the package. A failure becomes an error that says what to install. */
export async function openLibrary<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new EngineError({
      code: "engine-not-loadable",
      what: `The engine, ONNX Runtime, cannot be loaded: ${messageOf(cause).split("\n")[0]}`,
      where: `package onnxruntime-node on ${process.platform} ${process.arch}, Node ${process.version}`,
      fix:
        "Install the package: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0. It runs on Linux with glibc (x64, arm64), " +
        "macOS (arm64) and Windows (x64, arm64). Alpine Linux has no glibc.",
      cause,
    });
  }
}

/** Creates a session. A failure becomes an error that says what the device lacks, or that it is missing. */
async function opened(engine: Engine, create: () => Promise<Ort.InferenceSession>): Promise<Ort.InferenceSession> {
  try {
    return await create();
  } catch (cause) {
    throw failureOf(engine, cause) ?? missingDevice(engine, cause) ?? cause;
  }
}
