/** @file The interface of engines. An engine loads graphs on one device and lists what it lacks there (its capabilities).
 *
 *  A graph may use every operator: `load` first lowers it (graph/lowering), so the engine never gets an operator that it lacks.
 *  Feeds are host tensors or device tensors. Results are host tensors, except the outputs that `keep` names. */

import type { HostDType, HostTensor } from "../base/tensor.ts";
import type { Capabilities } from "../graph/lowering/capabilities.ts";
import type { Mixture } from "../graph/lowering/mixture.ts";
import type { Graph } from "../graph/value.ts";

export const DEVICES = ["cpu", "webgpu", "cuda", "coreml", "dml"] as const;
/** The hardware of an engine. The package onnxruntime-node comes with cpu and webgpu; the others need a build of ONNX Runtime that has them. */
export type Device = (typeof DEVICES)[number];

/** A tensor in an engine's own memory. It owns memory of the device: `using` or `dispose` it. */
export interface DeviceTensor extends Disposable {
  readonly location: "device";
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  /** A copy on the host. */
  read(): Promise<HostTensor>;
  dispose(): void;
}
export type Tensor = HostTensor | DeviceTensor;

/** The feeds of a run, by name. */
export type DeviceFeeds = Readonly<Record<string, Tensor>>;
/** Feeds that are all host tensors. */
export type Feeds = Readonly<Record<string, HostTensor>>;
/** The results of a run, by name. */
export type Fetches = Readonly<Record<string, HostTensor>>;

export interface Results {
  readonly fetched: Fetches;
  /** The outputs that stayed on the device. The caller disposes them. */
  readonly kept: Readonly<Record<string, DeviceTensor>>;
}

export interface LoadOptions {
  /** Threads for one operator. Default: the environment variable SKEIN_THREADS, else all cores. */
  readonly threads?: number;
  /** Store constant weights in a layout for faster products; this takes a second copy of them. Default true. */
  readonly prepack?: boolean;
  /** Write ONNX Runtime's profile to files that start with this prefix. */
  readonly profile?: string;
  /** Outputs that stay on the device; they come back as device tensors. Default none. */
  readonly keep?: readonly string[];
  /** Weights in float16 stay so in memory, and each product widens them (graph/lowering/half-weights.ts). Default false: they are widened once. */
  readonly half?: boolean;
  /** How a mixture of experts is computed (graph/lowering/mixture.ts). Default "masked" on GPUs, else "sorted". */
  readonly mixture?: Mixture;
}

/** A graph ready to run. Owns native memory: `await using` or `dispose` it. */
export interface Session extends AsyncDisposable {
  /** The feeds that the outputs need. */
  readonly inputs: ReadonlySet<string>;
  readonly outputs: readonly string[];
  /** Runs the graph. Feeds that the graph does not use are ignored; a missing feed is an error that names it. Without `fetches`, all
   *  outputs that are not kept on the device are fetched. */
  run(feeds: DeviceFeeds, fetches?: readonly string[]): Promise<Fetches>;
  /** The same, and also returns the kept outputs. */
  runKeeping(feeds: DeviceFeeds, fetches?: readonly string[]): Promise<Results>;
  /** Stops profiling and writes the file that the option `profile` names. */
  endProfiling(): void;
  dispose(): Promise<void>;
}

export interface Engine {
  readonly name: string;
  /** The hardware that the engine runs on. */
  readonly device: Device;
  readonly capabilities: Capabilities;
  /** Loads a graph. An engine whose native library or device is missing throws an EngineError. */
  load(graph: Graph, options?: LoadOptions): Promise<Session>;
  /** Whether the device computes with float16 numbers; a small graph finds out at the first call. */
  hasFloat16(): Promise<boolean>;
  /** Copies a host tensor to the device, for a tensor that is fed many times. */
  upload(tensor: HostTensor): Promise<DeviceTensor>;
  /** The device tensors that are not disposed of. */
  held(): { readonly tensors: number; readonly bytes: number };
}

/** Frees those of the tensors that are on a device. */
export function disposeAll(tensors: Iterable<Tensor>): void {
  for (const tensor of tensors) if (isOnDevice(tensor)) tensor.dispose();
}

export function isOnDevice(tensor: Tensor): tensor is DeviceTensor {
  return "location" in tensor;
}
