/** @file A routing method: what a pool's experts become on a base model. Each method is one file that says everything about itself;
 *  the command line, the library, evaluation and the server ask the registry. */

import type * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import type { Base } from "../inference/base.ts";
import type { RowChoice } from "../inference/row-choices.ts";
import type { Runner } from "../inference/runner.ts";
import type { Woven } from "../inference/woven.ts";
import type { Moa } from "../routing/moa-file.ts";
import type { Router } from "../routing/router.ts";

/** What lies beside a pool's experts. */
export interface PoolParts {
  /** The MoA routers in the pool's folder, read when a method asks; undefined where there are none. */
  readonly moa?: (() => Promise<Moa | undefined>) | undefined;
}

export interface MethodSetting extends PoolParts {
  readonly base: Base;
  readonly runner: Runner;
  readonly experts: readonly Expert[];
  /** The pool's folder, for messages. */
  readonly where?: string | undefined;
  /** What rows choose for themselves; they choose nothing when absent, but for what the method needs. */
  readonly rows?: RowChoice | undefined;
  /** Called with what a person should know of the result. */
  readonly onWarning?: ((warning: string) => void) | undefined;
}

type Shape = Readonly<Record<string, z.ZodType>>;

export interface RoutingMethod<S extends Shape = Shape> {
  readonly name: string;
  /** What it does, as a sentence. */
  readonly description: string;
  /** What the experts or the pool must have. */
  readonly needs: string;
  /** Names, types, defaults and descriptions of its options. */
  readonly options: z.ZodObject<S, z.core.$strict>;
  /** Other names that it goes by, each with the options that the name stands for. */
  readonly otherNames?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Why an option of all methods makes no sense here: sentences, shown to whoever gives it. */
  readonly refuses?: { readonly topK?: string; readonly rows?: string };
  /** Whether it is what a pool runs under when no method is named; the last in the registry to say so is taken. */
  readonly isDefaultFor?: (pool: PoolParts) => Promise<boolean>;
  /** Whether files beside the experts say which of them take part, so that a part of the pool cannot be tried. */
  readonly hasFixedExperts?: boolean;
  /** The router alone, for methods that score every expert for every token whatever the pool; undefined where the options change the
   *  experts too. */
  readonly router?: (options: z.output<z.ZodObject<S>>) => Router | undefined;
  /** What a reader of results should know of it. */
  readonly details?: (options: z.output<z.ZodObject<S>>) => Readonly<Record<string, string>>;
  /** What the answers depend on beside experts and options. */
  readonly reads?: (pool: PoolParts) => Promise<unknown>;
  /** An expert that the method could never choose is an error that names it. */
  readonly open: (setting: MethodSetting, options: z.output<z.ZodObject<S>>) => Promise<Woven>;
}

/** A method that nobody needs to know the options of. */
export function method<S extends Shape>(declared: RoutingMethod<S>): RoutingMethod {
  return declared as unknown as RoutingMethod;
}
