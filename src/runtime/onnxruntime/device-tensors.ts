/** @file Tensors on a device. Each is known with its engine, so that none is fed to another, and until it is disposed of its bytes count. */

import { invariant } from "../../base/errors.ts";
import type { HostDType, HostTensor } from "../../base/tensor.ts";
import { createGraph } from "../../graph/graph.ts";
import type { DType } from "../../graph/sizes.ts";
import type { DeviceTensor, Engine, LoadOptions, Session } from "../engine.ts";
import { ownDtype } from "./host-tensors.ts";
import type { Ort } from "./library.ts";

interface Native {
  readonly engine: Engine;
  readonly tensor: Ort.Tensor;
  readonly bytes: number;
}
/** The engine and native tensor of each device tensor. */
const held = new WeakMap<DeviceTensor, Native>();
/** Those that are not disposed of. */
const live = new Set<Native>();

/** An output of the engine's that stayed on the device. */
export function deviceTensor(engine: Engine, tensor: Ort.Tensor, whenDisposed: () => void): DeviceTensor {
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

/** What is fed for a device tensor, which must live on the engine. */
export function heldBy(engine: Engine, feed: DeviceTensor, name: string): Ort.Tensor {
  const found = held.get(feed);
  if (!found) invariant(false, `feed ${name} was disposed of`);
  if (found.engine !== engine) invariant(false, `feed ${name} lives on the engine ${found.engine.name}, not on ${engine.name}`);
  return found.tensor;
}

/** The device tensors of an engine that are not disposed of. */
export function heldOn(engine: Engine): { readonly tensors: number; readonly bytes: number } {
  const own = [...live].filter((tensor) => tensor.engine === engine);
  return { tensors: own.length, bytes: own.reduce((sum, { bytes }) => sum + bytes, 0) };
}

const copySessions = new Map<string, Promise<Session>>();

/** y = x, for tensors of this dtype and rank. These sessions are few and small, and stay until the process ends. */
export function copySession(engine: Engine, { dtype, shape }: DeviceTensor | HostTensor, options: LoadOptions): Promise<Session> {
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
