/** @file The form that bottleneck adapters of a pool or a file must share, as one text: "relu parallel". */

import { BOTTLENECK_ACTIVATIONS, BOTTLENECK_PLACEMENTS, type BottleneckActivation, type BottleneckPlacement } from "./adapter.ts";

export interface BottleneckForm {
  readonly activation: BottleneckActivation;
  readonly placement: BottleneckPlacement;
}

export function bottleneckForm({ activation, placement }: BottleneckForm): string {
  return `${activation} ${placement}`;
}

export function parsedBottleneckForm(text: string): BottleneckForm {
  for (const activation of BOTTLENECK_ACTIVATIONS)
    for (const placement of BOTTLENECK_PLACEMENTS) if (bottleneckForm({ activation, placement }) === text) return { activation, placement };
  throw new Error(`Skein bug: "${text}" is no form of a bottleneck adapter`);
}
