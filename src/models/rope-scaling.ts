/** @file The frequencies of rotary positions, and their scaling for longer texts (reference:
 *  transformers, modeling_rope_utils.py). With w_i = base^(-2i / size), i < size / 2:
 *
 *    linear     w_i / factor                                                        (kaiokendev 2023)
 *    dynamic    base grows with the length L once L > maximum:                      (bloc97, emozilla 2023)
 *               base' = base s^(size / (size - 2)),  s = factor L / maximum - (factor - 1)
 *    yarn       slow frequencies / factor, fast ones kept, a ramp between            (Peng et al. 2023, arXiv:2309.00071)
 *    llama3     the same idea with bounds on wavelengths instead of rotations        (Llama 3.1)
 *    longrope   w_i / short_i, or w_i / long_i once L > the original maximum         (Ding et al. 2024, arXiv:2402.13753)
 *
 *  yarn and longrope also multiply cosines and sines by a magnitude. L is the largest position in the batch plus one. */

import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";

const scalings = {
  default: z.object({}),
  linear: z.object({ factor: z.number() }),
  dynamic: z.object({ factor: z.number() }),
  llama3: z.object({
    factor: z.number(),
    low_freq_factor: z.number(),
    high_freq_factor: z.number(),
    original_max_position_embeddings: z.number(),
  }),
  yarn: z.object({
    factor: z.number(),
    original_max_position_embeddings: z.number().nullish(),
    attention_factor: z.number().nullish(),
    beta_fast: z.number().nullish(),
    beta_slow: z.number().nullish(),
    mscale: z.number().nullish(),
    mscale_all_dim: z.number().nullish(),
    truncate: z.boolean().nullish(),
  }),
  longrope: z.object({
    short_factor: z.array(z.number()),
    long_factor: z.array(z.number()),
    factor: z.number().nullish(),
    attention_factor: z.number().nullish(),
    original_max_position_embeddings: z.number().nullish(),
  }),
} as const;
type Kind = keyof typeof scalings;
export type Scaling = { readonly [K in Kind]: { readonly kind: K } & z.infer<(typeof scalings)[K]> }[Kind];

/** Parses `rope_scaling` of config.json. The kind is in `rope_type`, or in `type` in older files. */
export function parseScaling(raw: Readonly<Record<string, unknown>> | null | undefined): Scaling {
  const name = String(raw?.rope_type ?? raw?.type ?? "default");
  // Phi-3's first files say "su" and mean longrope; so do those that say "yarn" and have lists of factors.
  const kind = name === "su" || (name === "yarn" && raw?.long_factor) ? "longrope" : name;
  if (!Object.hasOwn(scalings, kind)) {
    throw new CheckpointError({
      code: "checkpoint-setting",
      data: { got: name, known: Object.keys(scalings) },
      what: `Rotary positions with scaling "${name}" are not supported.`,
      where: "config.json: rope_scaling",
      fix: `Supported: ${Object.keys(scalings).join(", ")}.`,
    });
  }
  const parsed = scalings[kind as Kind].safeParse(raw ?? {});
  if (parsed.success) return { kind, ...parsed.data } as Scaling;
  throw new CheckpointError({
    code: "checkpoint-bad-config",
    what: `The scaling "${name}" is incomplete: ${parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; ")}.`,
    where: "config.json: rope_scaling",
    fix: "Compare the file with the published checkpoint's.",
  });
}

/** w_i = base^(-2i / size), i < size / 2, rounded to float32 where the reference rounds. */
export function inverseFrequencies(base: number, size: number): number[] {
  const f = Math.fround;
  return Array.from({ length: size / 2 }, (_, i) => f(1 / f(base ** f((2 * i) / size))));
}

type Of<K extends Kind> = Extract<Scaling, { kind: K }>;

/** Scales long wavelengths by `factor`, keeps short ones, and interpolates between them. */
export function llama3Frequencies(frequencies: readonly number[], scaling: Of<"llama3">): number[] {
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: length } = scaling;
  return frequencies.map((w) => {
    const wavelength = (2 * Math.PI) / w;
    if (wavelength > length / low) return w / factor;
    if (wavelength < length / high) return w;
    const smooth = (length / wavelength - low) / (high - low);
    return ((1 - smooth) * w) / factor + smooth * w;
  });
}

/** The ramp runs between the dimensions that make beta_fast and beta_slow rotations within the original length. The factor in
 *  the file is used even if it is not the quotient of the lengths, as in the reference. */
export function yarnFrequencies(frequencies: readonly number[], base: number, maximum: number, scaling: Of<"yarn">): number[] {
  const length = scaling.original_max_position_embeddings ?? maximum;
  const size = frequencies.length * 2;
  const dimension = (rotations: number) => (size * Math.log(length / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
  const whole = (round: (x: number) => number, x: number) => (scaling.truncate === false ? x : round(x));
  const low = Math.max(whole(Math.floor, dimension(scaling.beta_fast || 32)), 0);
  const high = Math.min(whole(Math.ceil, dimension(scaling.beta_slow || 1)), size - 1);
  return frequencies.map((w, i) => {
    const ramp = Math.min(Math.max((i - low) / (high === low ? 0.001 : high - low), 0), 1);
    return (w / scaling.factor) * ramp + w * (1 - ramp);
  });
}

/** Magnitude of cosines and sines: 0.1 ln(factor) + 1. */
export function yarnMagnitude({ factor, attention_factor, mscale, mscale_all_dim }: Of<"yarn">): number {
  if (attention_factor != null) return attention_factor;
  const magnitude = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  return mscale && mscale_all_dim ? magnitude(mscale) / magnitude(mscale_all_dim) : magnitude(1);
}

/** Magnitude of cosines and sines: sqrt(1 + ln(factor) / ln(original)), factor = maximum / original. The file's own factor
 *  counts only where no original length is known. */
export function longropeMagnitude(maximum: number, original: number | undefined, { factor, attention_factor }: Of<"longrope">): number {
  if (attention_factor != null) return attention_factor;
  const stretch = original === undefined ? (factor ?? 1) : maximum / original;
  return stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original ?? maximum));
}
