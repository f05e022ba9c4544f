/** @file Examines the machine's devices: what they are, whether they compute rightly, how fast, and what `auto` would choose. */

import { availableParallelism, cpus } from "node:os";
import { fastest, type Missing, type Speed, speedOf, THOROUGH } from "../runtime/device.ts";
import type { Device, Engine } from "../runtime/engine.ts";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { ENGINES } from "../runtime/session.ts";
import { type Placement, placed } from "./placement.ts";
import { computedOn, type Results } from "./self-test.ts";

export interface DeviceReport {
  readonly device: Device;
  /** Why the device cannot be used; the other fields are absent then. */
  readonly missing?: string;
  readonly speed?: Speed;
  readonly selfTest?: SelfTest;
  /** Whether the device computes with float16 numbers, so that `precision: "float16"` works on it. */
  readonly float16?: boolean;
  /** Where the operators of the self-test ran. */
  readonly placement?: Placement;
  /** What Skein replaces by other operators, with the reason. */
  readonly replaced?: Readonly<Record<string, string>>;
}

export interface SelfTest {
  readonly passed: boolean;
  /** The largest difference from the known numbers (CPU), or from the CPU's numbers (other devices). */
  readonly difference: number;
  /** What is wrong, in sentences; empty if it passed. */
  readonly problems: readonly string[];
}

export interface Examination {
  readonly processor: string;
  readonly cores: number;
  readonly devices: readonly DeviceReport[];
  /** The device that `auto` chooses. */
  readonly auto: Device;
}

/** The first logits of the demo's base on the self-test's text, as the CPU gives them. The same code gives the numbers of transformers
 *  on every base of tests/golden. */
const KNOWN_LOGITS = [-9.9104, 50.0404, 0.0258, -6.1868, -1.4374, -5.1825, -5.001, 11.2826];
const TOLERANCE = 2e-3;

/** Examines every device. `onDevice` is called before each, with the number of devices. */
export async function examine(onDevice: (device: Device, devices: number) => void = () => {}): Promise<Examination> {
  const devices: DeviceReport[] = [];
  const speeds: { engine: Engine; speed: Speed | Missing }[] = [];
  let reference: Results | undefined; // the CPU is the first engine
  for (const engine of ENGINES) {
    const { device, capabilities } = engine;
    onDevice(device, ENGINES.length);
    const speed = await speedOf(engine, THOROUGH);
    speeds.push({ engine, speed });
    if ("missing" in speed) {
      devices.push({ device, ...speed });
      continue;
    }
    const known = { device, speed, float16: await engine.hasFloat16(), replaced: capabilities.lacks as Record<string, string> };
    if (engine === cpu) {
      reference = await computedOn(engine);
      devices.push({ ...known, selfTest: likeKnown(reference) });
      continue;
    }
    const { placement, result } = await placed(engine, (options) => computedOn(engine, options));
    devices.push({ ...known, selfTest: likeReference(result, reference!), placement });
  }
  return { processor: cpus()[0]?.model.trim() ?? "unknown", cores: availableParallelism(), devices, auto: fastest(speeds).device };
}

/** Compares the CPU's results with the known numbers. */
export function likeKnown({ logits, losses }: Results): SelfTest {
  return selfTest([["logits of the base", differenceOf(logits, KNOWN_LOGITS)]], learns(losses));
}

/** Compares a device's results with the CPU's. */
export function likeReference(own: Results, cpu: Results): SelfTest {
  const differences: [string, number][] = [
    ["logits of the base", differenceOf(own.logits, cpu.logits)],
    ["logits of a routed pool", differenceOf(own.routed, cpu.routed)],
    ["losses of training", differenceOf(own.losses, cpu.losses)],
  ];
  const tokens = String(own.tokens) === String(cpu.tokens) ? [] : ["It generates other tokens than the CPU."];
  return selfTest(differences, [...tokens, ...learns(own.losses)]);
}

function learns(losses: readonly number[]): string[] {
  return losses.at(-1)! < losses[0]! ? [] : [`Training learns nothing: its losses are ${losses.join(", ")}.`];
}

function selfTest(differences: readonly (readonly [string, number])[], others: readonly string[]): SelfTest {
  const wrong = differences.filter(([, difference]) => !(difference <= TOLERANCE));
  const problems = [...wrong.map(([what, by]) => `The ${what} are off by ${by.toPrecision(2)}.`), ...others];
  return { passed: problems.length === 0, difference: Math.max(...differences.map(([, difference]) => difference)), problems };
}

/** The largest difference; NaN if there is one. */
function differenceOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i]!)));
}
