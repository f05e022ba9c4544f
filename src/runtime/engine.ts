/** @file What runs a graph. An engine is a value: it loads graphs on one device and says what it can do there.
 *
 *  A graph uses whatever operators it likes: `load` lowers it first (graph/lowering), so that none reaches an engine that lacks it.
 *  Numbers enter as host tensors or as tensors that an engine holds; they come back as host tensors unless they were asked to stay. */

import type { HostDType, HostTensor } from "../base/tensor.ts";
import type { Capabilities } from "../graph/lowering/capabilities.ts";
import type { Mixture } from "../graph/lowering/mixture.ts";
import type { Graph } from "../graph/value.ts";

/** Numbers that an engine holds where it computes. Owns memory of the device: `using` or `dispose` it. */
export interface DeviceTensor extends Disposable {
  readonly location: "device";
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  /** A copy on the host. */
  read(): Promise<HostTensor>;
  dispose(): void;
}
export type Tensor = HostTensor | DeviceTensor;

/** What a run takes, by name. */
export type DeviceFeeds = Readonly<Record<string, Tensor>>;
/** The same, all on the host. */
export type Feeds = Readonly<Record<string, HostTensor>>;
/** What a run gives, by name. */
export type Fetches = Readonly<Record<string, HostTensor>>;

export interface Results {
  readonly fetched: Fetches;
  /** The outputs that stayed on the device. The caller disposes them. */
  readonly kept: Readonly<Record<string, DeviceTensor>>;
}

export interface LoadOptions {
  /** Threads for one operator; when absent what the environment variable SKEIN_THREADS says, else all cores. */
  readonly threads?: number;
  /** Lay constant weights out anew for faster products; costs a second copy of them. Default true. */
  readonly prepack?: boolean;
  /** Write ONNX Runtime's profile to files that start with this prefix. */
  readonly profile?: string;
  /** Outputs that stay on the device; they come back as device tensors. Default none. */
  readonly keep?: readonly string[];
  /** How a mixture of experts is computed where the engine lacks the operator (graph/lowering/mixture.ts). Default "masked". */
  readonly mixture?: Mixture;
}

/** A graph ready to run. Owns native memory: `await using` or `dispose` it. */
export interface Session extends AsyncDisposable {
  /** The feeds that the outputs need. */
  readonly inputs: ReadonlySet<string>;
  readonly outputs: readonly string[];
  /** Runs the graph. Feeds the graph does not use are left out; a missing one is an error that names it. Without `fetches`, everything
   *  that is not kept on the device is fetched. */
  run(feeds: DeviceFeeds, fetches?: readonly string[]): Promise<Fetches>;
  /** The same, and also gives the kept outputs. */
  runKeeping(feeds: DeviceFeeds, fetches?: readonly string[]): Promise<Results>;
  /** Stops profiling and writes the file that the option `profile` names. */
  endProfiling(): void;
  dispose(): Promise<void>;
}

export interface Engine {
  readonly name: string;
  /** The hardware that computes. */
  readonly device: "cpu" | "webgpu";
  readonly capabilities: Capabilities;
  /** Loads a graph. An engine whose native library or device is missing throws an EngineError. */
  load(graph: Graph, options?: LoadOptions): Promise<Session>;
  /** A copy of a host tensor on the device, to be fed many times. */
  upload(tensor: HostTensor): Promise<DeviceTensor>;
}

export function isOnDevice(tensor: Tensor): tensor is DeviceTensor {
  return "location" in tensor;
}
