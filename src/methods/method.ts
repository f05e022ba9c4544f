/** @file The interface of a routing method, which weaves a pool's experts into a base model. Each method is one file with all of its
 *  code, options and descriptions. The command line, the library, evaluation and the server use the registry. */

import type * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import type { Base } from "../inference/base.ts";
import type { RowChoice } from "../inference/row-choices.ts";
import type { Runner } from "../inference/runner.ts";
import type { Woven } from "../inference/woven.ts";
import type { Moa } from "../routing/moa-file.ts";
import type { Router } from "../routing/router.ts";

/** Files in the pool's folder other than the experts. */
export interface PoolParts {
  /** Reads the MoA routers in the pool's folder; undefined if there are none. */
  readonly moa?: (() => Promise<Moa | undefined>) | undefined;
}

/** What a routing method is opened on. */
export interface MethodSetting extends PoolParts {
  readonly base: Base;
  readonly runner: Runner;
  readonly experts: readonly Expert[];
  /** The pool's folder, for messages. */
  readonly where?: string | undefined;
  /** How rows of a batch choose their own experts. Default: not at all, unless the method requires it. */
  readonly rows?: RowChoice | undefined;
  /** The number of experts in memory, for methods that choose one expert for each row. Default: all. */
  readonly maxResident?: number | undefined;
  /** Called with warnings about the result. */
  readonly onWarning?: ((warning: string) => void) | undefined;
}

type Shape = Readonly<Record<string, z.ZodType>>;

/** A routing method: its name, its options, and what a pool becomes under it. */
export interface RoutingMethod<S extends Shape = Shape> {
  readonly name: string;
  /** A description of the method in one sentence. */
  readonly description: string;
  /** The data that the experts or the pool must have. */
  readonly needs: string;
  /** Names, types, defaults and descriptions of its options. */
  readonly options: z.ZodObject<S, z.core.$strict>;
  /** Other names of the method, each with its options. */
  readonly otherNames?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Common options that this method refuses, each with the reason as a sentence for the error. */
  readonly refuses?: { readonly topK?: string; readonly rows?: string };
  /** Whether it is what a pool runs under when no method is named; the last in the registry to say so is taken. */
  readonly isDefaultFor?: (pool: PoolParts) => Promise<boolean>;
  /** Whether it chooses one expert for each row, so that the others need not be in memory. */
  readonly takesOneExpert?: true;
  /** Whether it holds the experts in float32, whatever the precision of their files. */
  readonly widensExperts?: true;
  /** Whether other files in the pool determine which experts are used. A part of the pool then cannot be tried alone. */
  readonly hasFixedExperts?: boolean;
  /** The router alone, for methods that score every expert for every token independently of the pool; undefined if the options also
   *  change the experts. */
  readonly router?: (options: z.output<z.ZodObject<S>>) => Router | undefined;
  /** A note for readers of results. */
  readonly details?: (options: z.output<z.ZodObject<S>>) => Readonly<Record<string, string>>;
  /** Anything else that the results depend on, besides experts and options. */
  readonly reads?: (pool: PoolParts) => Promise<unknown>;
  /** Weaves in the experts. An expert that the method could never choose is an error that names it. */
  readonly open: (setting: MethodSetting, options: z.output<z.ZodObject<S>>) => Promise<Woven>;
}

/** A method with options of any type. */
export function method<S extends Shape>(declared: RoutingMethod<S>): RoutingMethod {
  return declared as unknown as RoutingMethod;
}
