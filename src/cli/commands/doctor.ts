/** @file `skein doctor`: what this machine's devices can do, and which one `--device auto` chooses. */

import type { Command } from "commander";
import type { DeviceReport, Examination } from "../../doctor/examine.ts";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { progress } from "../progress.ts";

export function addDoctor(program: Command, io: Io, summary: string): void {
  subcommand(program, "doctor", { summary, example: "skein doctor" }).action(async (flags: CommonFlags) => {
    const { examine } = await import("../../doctor/examine.ts");
    const bar = progress(io, flags, { label: "examine" });
    let done = 0;
    const examination = await examine((device, devices) => bar.update({ step: done++, steps: devices, note: device }));
    bar.done();
    show(io, flags, examination, described(examination));
  });
}

function described({ processor, cores, devices, auto }: Examination): string {
  return [
    `Node ${process.version} on ${process.platform} ${process.arch}; ${processor}, ${cores} cores`,
    ...devices.flatMap((report) => ["", ...deviceLines(report)]),
    "",
    `--device auto chooses ${auto}: the highest mean of both speeds. Another device than the CPU must be a tenth faster.`,
  ].join("\n");
}

function deviceLines({ device, missing, speed, selfTest, float16, placement, replaced }: DeviceReport): string[] {
  if (missing || !speed || !selfTest) return [`${device}: cannot be used. ${missing}`];
  const rates = `${rounded(speed.gflops)} GFLOP/s in a product of matrices, ${rounded(speed.gigabytes)} GB/s in a product with one row`;
  const test = selfTest.passed
    ? `passed (largest difference ${selfTest.difference.toExponential(1)})`
    : `FAILED. ${selfTest.problems.join(" ")}`;
  const fallen = placement && counted(placement.floatsOnHost);
  return [
    `${device}: ${rates}`,
    `  self-test: ${test}`,
    `  float16: ${float16 ? "yes, for --precision float16" : "no, so --precision float16 is refused"}`,
    ...(placement ? [`  operators of the self-test on the device: ${placement.device}; fallen back to the CPU: ${fallen || "none"}`] : []),
    ...Object.entries(replaced ?? {}).map(([use, reason]) => `  replaced: ${use} (${reason})`),
  ];
}

/** Two digits. */
function rounded(value: number): string {
  return String(Number(value.toPrecision(2)));
}

/** "Or 3, Sign 1" */
function counted(operators: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const operator of operators) counts.set(operator, (counts.get(operator) ?? 0) + 1);
  return [...counts].map(([operator, count]) => `${operator} ${count}`).join(", ");
}
