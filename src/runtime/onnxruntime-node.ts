/** @file ONNX Runtime in Node, one engine for each device (onnxruntime/). */

import { isHalf, widened } from "../base/half.ts";
import type { Capabilities } from "../graph/lowering/capabilities.ts";
import type { Device, Engine } from "./engine.ts";
import { computesFloat16 } from "./float16.ts";
import { copySession, heldOn } from "./onnxruntime/device-tensors.ts";
import { OrtSession, SILENT } from "./onnxruntime/session.ts";

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
    held: () => heldOn(engine),
  };
  return engine;
}
